import type { Connection, IdentifyResult, PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Cancel, Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import { FOREIGN_PEERS_REMEMBERED_MAX } from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { Members, MeetOptions, PeerAddresses } from '../../dht/members.ts'
import { dropLoopbackWhenOthersExist, parseAddress } from './addresses.ts'
import { dialError, isOpen, parsePeerId } from './dial.ts'
import type { HostNode } from './host.ts'
import { swarmMismatch, swarmOf } from './protocols.ts'

export interface MembersComponents {
  node: HostNode
  clock: Clock
  log: Logger
}

export interface MembersOptions {
  swarm: string
  /** A connection whose peer has not said by then who it is, is closed, ms. */
  identifyDeadlineMs: number
  /**
   * How long a peer of another swarm stays connected, ms: long enough for it to learn from our answer
   * to its identify which swarm we are, so that its owner is told what is wrong.
   */
  foreignGraceMs: number
}

export const MEMBERS_OPTIONS: Omit<MembersOptions, 'swarm'> = Object.freeze({
  identifyDeadlineMs: 10_000,
  foreignGraceMs: 2_000,
})

type Membership = { kind: 'member' } | { kind: 'foreign'; swarm: string | undefined }

/**
 * The connected peers of our swarm, by their identify messages. This keeps swarms apart by
 * accident, not by force: protocol names carry the swarm's id, so a foreigner can open no stream of ours.
 */
export class Libp2pMembers implements Members {
  readonly self: string
  readonly #node: HostNode
  readonly #clock: Clock
  readonly #log: Logger
  readonly #options: MembersOptions
  readonly #members = new Set<string>()
  /** The swarms of foreign peers met lately, for clear errors. */
  readonly #foreign = new Map<string, string | undefined>()
  readonly #joinListeners = new Set<(peer: string) => void>()
  readonly #leaveListeners = new Set<(peer: string) => void>()
  /** Called after every identify and every lost peer. */
  readonly #waiting = new Set<(peer: string) => void>()
  #stopped = new AbortController()

  constructor(components: MembersComponents, options: MembersOptions) {
    this.#node = components.node
    this.#clock = components.clock
    this.#log = components.log
    this.#options = options
    this.self = components.node.peerId.toString()
  }

  /** Begins to watch; call it before the node is started. */
  start(): void {
    this.#stopped = new AbortController()
    const { signal } = this.#stopped
    this.#node.addEventListener('connection:open', (event) => this.#onConnection(event.detail), { signal })
    this.#node.addEventListener('peer:identify', (event) => this.#onIdentify(event.detail), { signal })
    this.#node.addEventListener('peer:disconnect', (event) => this.#onDisconnect(event.detail), { signal })
  }

  stop(): void {
    this.#stopped.abort()
    this.#members.clear()
  }

  list(): string[] {
    return [...this.#members]
  }

  async addressesOf(peer: string): Promise<string[]> {
    const known = await this.#node.peerStore.get(parsePeerId(peer)).catch(() => undefined)
    const addresses = known?.addresses.map(({ multiaddr }) => multiaddr) ?? []
    return dropLoopbackWhenOthersExist(addresses).map(withoutPeer)
  }

  onJoin(listener: (peer: string) => void): Cancel {
    this.#joinListeners.add(listener)
    return () => this.#joinListeners.delete(listener)
  }

  onLeave(listener: (peer: string) => void): Cancel {
    this.#leaveListeners.add(listener)
    return () => this.#leaveListeners.delete(listener)
  }

  /** The membership of `peer` by its identify message: ours, another swarm's, or unknown yet. */
  membershipOf(peer: string): Membership | undefined {
    if (this.#members.has(peer)) return { kind: 'member' }
    if (this.#foreign.has(peer)) return { kind: 'foreign', swarm: this.#foreign.get(peer) }
    return undefined
  }

  async meet(target: string | PeerAddresses, options: MeetOptions): Promise<string> {
    const name = typeof target === 'string' ? target : target.peer
    const addresses = dialTargetsOf(target)
    return await withDeadline(
      {
        clock: this.#clock,
        ms: options.deadlineMs,
        whose: `a connection to ${name}`,
        signal: options.signal,
      },
      async (signal) => {
        const peer = await this.#dial(name, addresses, signal)
        await this.untilIdentified(peer, signal)
        return peer
      },
    )
  }

  /** Waits until identify has said whose `peer` is. Throws `swarm-mismatch`, or `peer-unreachable` when it goes first. */
  async untilIdentified(peer: string, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const finish = (settle: () => void): void => {
        this.#waiting.delete(look)
        signal.removeEventListener('abort', onAbort)
        settle()
      }
      const onAbort = (): void => finish(() => reject(signal.reason as Error))
      const look = (changed: string): void => {
        if (changed !== peer) return
        const membership = this.membershipOf(peer)
        if (membership?.kind === 'member') finish(resolve)
        else if (membership !== undefined)
          finish(() => reject(swarmMismatch(peer, this.#options.swarm, membership.swarm)))
        else if (this.#node.getConnections(parsePeerId(peer)).every((connection) => !isOpen(connection)))
          finish(() => reject(hungUp(peer)))
      }
      this.#waiting.add(look)
      signal.addEventListener('abort', onAbort, { once: true })
      look(peer)
    })
  }

  async #dial(name: string, addresses: Multiaddr[] | PeerId, signal: AbortSignal): Promise<string> {
    try {
      const connection = await this.#node.dial(addresses, { signal })
      return connection.remotePeer.toString()
    } catch (error) {
      throw dialError(name, error, signal)
    }
  }

  #onConnection(connection: Connection): void {
    const peer = connection.remotePeer.toString()
    const cancel = this.#clock.schedule(
      this.#options.identifyDeadlineMs,
      () => {
        if (isOpen(connection) && this.membershipOf(peer) === undefined)
          connection.abort(new HearthError('deadline-passed', `peer ${peer} did not say who it is`))
      },
      { background: true },
    )
    connection.addEventListener('close', cancel, { once: true })
  }

  #onIdentify(result: IdentifyResult): void {
    const peer = result.peerId.toString()
    if (!isOpen(result.connection)) return
    const swarm = swarmOf(result.protocols)
    if (swarm === this.#options.swarm) this.#welcome(peer)
    else this.#refuse(peer, swarm)
    this.#tellWaiting(peer)
  }

  #welcome(peer: string): void {
    this.#foreign.delete(peer)
    if (this.#members.has(peer)) return
    this.#members.add(peer)
    this.#log.debug({ peer }, 'member connected')
    for (const listener of this.#joinListeners) listener(peer)
  }

  #refuse(peer: string, swarm: string | undefined): void {
    this.#foreign.delete(peer)
    this.#foreign.set(peer, swarm)
    const oldest = this.#foreign.keys().next()
    if (this.#foreign.size > FOREIGN_PEERS_REMEMBERED_MAX && oldest.done !== true)
      this.#foreign.delete(oldest.value)
    this.#log.info({ peer, swarm, ours: this.#options.swarm }, 'peer of another swarm refused')
    this.#clock.schedule(this.#options.foreignGraceMs, () => this.#hangUp(peer), { background: true })
  }

  #hangUp(peer: string): void {
    if (this.#stopped.signal.aborted || this.#members.has(peer)) return
    for (const connection of this.#node.getConnections(parsePeerId(peer))) {
      connection.close().catch((error: unknown) => {
        this.#log.debug({ peer, error: messageOf(error) }, 'connection aborted instead of closed')
        connection.abort(error as Error)
      })
    }
  }

  #onDisconnect(peerId: PeerId): void {
    const peer = peerId.toString()
    if (this.#members.delete(peer)) {
      this.#log.debug({ peer }, 'member disconnected')
      for (const listener of this.#leaveListeners) listener(peer)
    }
    this.#tellWaiting(peer)
  }

  #tellWaiting(peer: string): void {
    for (const look of this.#waiting) look(peer)
  }
}

function dialTargetsOf(target: string | PeerAddresses): Multiaddr[] | PeerId {
  if (typeof target === 'string') return [parseAddress(target)]
  if (target.addresses.length === 0) return parsePeerId(target.peer)
  return target.addresses.map((address) => parseAddress(`${address}/p2p/${target.peer}`))
}

function withoutPeer(address: Multiaddr): string {
  return address.toString().replace(/\/p2p\/[^/]+$/, '')
}

function hungUp(peer: string): HearthError {
  return new HearthError(
    'peer-unreachable',
    `peer ${peer} hung up before it said which swarm it belongs to`,
    {
      data: { peer },
    },
  )
}
