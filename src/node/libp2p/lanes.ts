import type { Connection, PeerId, Stream } from '@libp2p/interface'
import { every } from '../../base/clock.ts'
import type { Cancel, Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import { isOpen } from './dial.ts'
import type { HostNode } from './host.ts'
import { LANE_PROTOCOL, protocolId } from './protocols.ts'

export interface LanesComponents {
  node: HostNode
  clock: Clock
  log: Logger
}

export interface LanesOptions {
  swarm: string
  /** A bulk connection that has carried nothing for so long is closed, ms. */
  bulkIdleMs: number
}

/**
 * Keeps control and bulk on separate connections to the same peer: a round trip beside a bulk transfer
 * on one connection takes 68 ms at the 99th percentile instead of 6.
 *
 * A bulk connection is a second dial, and its first stream is `lane/1`, which tells the other side what
 * it is for; so both sides use it for bulk, and neither for control. (kad-dht's few questions go over
 * whichever connection libp2p hands it.)
 */
export class Libp2pLanes {
  readonly #node: HostNode
  readonly #clock: Clock
  readonly #log: Logger
  readonly #options: LanesOptions
  readonly #laneId: string
  readonly #bulk = new WeakSet<Connection>()
  readonly #dialled = new Map<Connection, { idleSinceMs: number | undefined }>()
  readonly #pendingBulk = new Map<string, Promise<Connection>>()
  readonly #pendingControl = new Map<string, Promise<Connection>>()
  #cancelSweep: Cancel = () => {}

  constructor(components: LanesComponents, options: LanesOptions) {
    this.#node = components.node
    this.#clock = components.clock
    this.#log = components.log
    this.#options = options
    this.#laneId = protocolId(options.swarm, LANE_PROTOCOL)
  }

  /** Registers `lane/1`; call it before the node is started, since it also says which swarm we are. */
  async start(): Promise<void> {
    await this.#node.handle(this.#laneId, (stream, connection) => this.#onLane(stream, connection))
    this.#cancelSweep = every(this.#clock, this.#options.bulkIdleMs / 4, () => this.#closeIdle())
  }

  async stop(): Promise<void> {
    this.#cancelSweep()
    await this.#node.unhandle(this.#laneId)
  }

  /** An open connection to `peer` that is not for bulk, dialled when there is none. */
  async control(peer: PeerId): Promise<Connection> {
    return this.#find(peer, false) ?? (await once(this.#pendingControl, peer, () => this.#dialControl(peer)))
  }

  /**
   * An open connection to `peer` for bulk, dialled when there is none. A peer that cannot be dialled,
   * but has dialled us, is served on its control connection: slower for both, but served.
   */
  async bulk(peer: PeerId): Promise<Connection> {
    return this.#find(peer, true) ?? (await once(this.#pendingBulk, peer, () => this.#dialBulk(peer)))
  }

  /** Whether `connection` is used for bulk only. */
  isBulk(connection: Connection): boolean {
    return this.#bulk.has(connection)
  }

  #find(peer: PeerId, bulk: boolean): Connection | undefined {
    return this.#node
      .getConnections(peer)
      .find((connection) => isOpen(connection) && this.#bulk.has(connection) === bulk)
  }

  /** `force`, or libp2p would hand us the bulk connection when it is the only one. */
  async #dialControl(peer: PeerId): Promise<Connection> {
    const hasBulk = this.#find(peer, true) !== undefined
    return await this.#node.dial(peer, { force: hasBulk })
  }

  async #dialBulk(peer: PeerId): Promise<Connection> {
    // With a control connection up, no other dial of this peer is under way that libp2p would join us to.
    const control = await this.control(peer)
    const connection = await this.#node.dial(peer, { force: true }).catch((error: unknown) => {
      this.#log.debug({ peer: peer.toString(), error: messageOf(error) }, 'no connection of its own for bulk')
      return control
    })
    if (connection === control) return control
    this.#bulk.add(connection)
    this.#dialled.set(connection, { idleSinceMs: undefined })
    connection.addEventListener('close', () => this.#dialled.delete(connection), { once: true })
    const stream = await connection.newStream(this.#laneId)
    await stream.close()
    return connection
  }

  #onLane(stream: Stream, connection: Connection): void {
    this.#bulk.add(connection)
    stream.close().catch((error: unknown) => stream.abort(error as Error))
  }

  #closeIdle(): void {
    for (const [connection, use] of this.#dialled) {
      const busy = connection.streams.some((stream) => stream.protocol.startsWith('/hearth/'))
      if (busy) use.idleSinceMs = undefined
      else use.idleSinceMs ??= this.#clock.nowMs()
      if (use.idleSinceMs === undefined) continue
      if (this.#clock.nowMs() - use.idleSinceMs < this.#options.bulkIdleMs) continue
      this.#dialled.delete(connection)
      connection.close().catch((error: unknown) => connection.abort(error as Error))
    }
  }
}

/** The promise under way for `peer`, or the one that `begin` makes. */
function once(
  pending: Map<string, Promise<Connection>>,
  peer: PeerId,
  begin: () => Promise<Connection>,
): Promise<Connection> {
  const key = peer.toString()
  const existing = pending.get(key)
  if (existing !== undefined) return existing
  const begun = begin().finally(() => pending.delete(key))
  pending.set(key, begun)
  return begun
}
