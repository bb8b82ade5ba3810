import { HearthError } from '../../../base/errors.ts'

/**
 * Connections that have not yet said who they are. A newcomer always gets in: when all places are taken, the
 * oldest connection of the address that has most of them goes. So an address that opens many silent
 * connections loses its own, and a handshake, which takes a fraction of a second, is not disturbed.
 */
export class PendingConnections<Connection> {
  readonly #max: number
  /** In the order of arrival. */
  readonly #hosts = new Map<Connection, string>()

  constructor(options: { max: number }) {
    this.#max = options.max
  }

  get size(): number {
    return this.#hosts.size
  }

  has(connection: Connection): boolean {
    return this.#hosts.has(connection)
  }

  /** Takes a connection in; returns the one that has to go for it, if any. */
  enter(connection: Connection, host: string): Connection | undefined {
    this.#hosts.set(connection, host)
    if (this.#hosts.size <= this.#max) return undefined
    const leaving = this.#oldestOfBusiestHost()
    this.#hosts.delete(leaving)
    return leaving
  }

  /** The connection has said who it is, or is gone. */
  leave(connection: Connection): void {
    this.#hosts.delete(connection)
  }

  #oldestOfBusiestHost(): Connection {
    const byHost = Map.groupBy(this.#hosts, ([, host]) => host)
    const [oldest] = [...byHost.values()].reduce((most, one) => (one.length > most.length ? one : most))
    if (oldest === undefined) throw new HearthError('internal', 'an address has no connection')
    return oldest[0]
  }
}
