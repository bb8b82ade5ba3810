import type { Connection } from '@libp2p/interface'
import type { Cancel, Clock } from '../../base/clock.ts'
import { HearthError } from '../../base/errors.ts'
import { CONNECTIONS_KEPT_FOR_KNOWN, CONNECTIONS_MAX, CONNECTIONS_PER_PEER_MAX } from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import { ConnectionSlots, type Slot, type SlotLimits, type Standing } from '../door/core/slots.ts'
import { isOpen } from './dial.ts'
import type { HostNode } from './host.ts'
import { GUEST_DROPPED_EVERY_MS } from './timings.ts'

const SLOT_LIMITS: SlotLimits = {
  connectionsMax: CONNECTIONS_MAX,
  keptForKnown: CONNECTIONS_KEPT_FOR_KNOWN,
  perPeerMax: CONNECTIONS_PER_PEER_MAX,
  guestEveryMs: GUEST_DROPPED_EVERY_MS,
}

/** What other parts of a peer know of another peer. */
export interface Acquaintance {
  /** Whether it has sent its advert. */
  hasAdvert(peer: string): boolean
  /** Whether it is one of those that we were told to join through, or remember from earlier. */
  remembers(peer: string): boolean
}

export interface ConnectionDoorComponents {
  node: HostNode
  isMember: (peer: string) => boolean
  acquaintance: Acquaintance
  clock: Clock
  log: Logger
}

/** Keeps the number of connections within its bounds: the shell of door/core/slots. */
export class ConnectionDoor {
  readonly #components: ConnectionDoorComponents
  readonly #slots: ConnectionSlots
  #cancel: Cancel = () => {}

  constructor(components: ConnectionDoorComponents, limits: SlotLimits = SLOT_LIMITS) {
    this.#components = components
    this.#slots = new ConnectionSlots(limits)
  }

  start(): void {
    const { node } = this.#components
    const onOpen = (event: CustomEvent<Connection>): void => this.#onOpen(event.detail)
    node.addEventListener('connection:open', onOpen)
    this.#cancel = () => node.removeEventListener('connection:open', onOpen)
  }

  stop(): void {
    this.#cancel()
  }

  #onOpen(connection: Connection): void {
    const { node, clock, log } = this.#components
    const open = node.getConnections().filter((one) => one !== connection && isOpen(one))
    const newest = this.#slotOf(connection)
    const dropped = this.#slots.surplus(
      [...open.map((one) => this.#slotOf(one)), newest],
      newest,
      clock.nowMs(),
    )
    if (dropped === undefined) return
    log.info({ peer: dropped.peer, standing: dropped.standing }, 'connection dropped: there are too many')
    dropped.connection.abort(new HearthError('limit-reached', 'there are too many connections'))
  }

  #slotOf(connection: Connection): Slot<Connection> {
    const peer = connection.remotePeer.toString()
    return {
      connection,
      peer,
      standing: this.#standingOf(peer, connection),
      isInbound: connection.direction === 'inbound',
      isBusy: connection.streams.some(({ protocol }) => protocol.startsWith('/hearth/')),
      openedAtMs: connection.timeline.open,
    }
  }

  #standingOf(peer: string, connection: Connection): Standing {
    const { isMember, acquaintance } = this.#components
    if (acquaintance.remembers(peer)) return 'known'
    // We chose to dial it.
    if (connection.direction === 'outbound') return 'guest'
    if (!isMember(peer)) return 'stranger'
    return acquaintance.hasAdvert(peer) ? 'guest' : 'member'
  }
}
