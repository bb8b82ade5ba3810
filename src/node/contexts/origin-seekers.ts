import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { OriginSwarm } from '../../context-sharing/origin/origins.ts'
import type { ContentRouting } from '../../dht/content-routing.ts'
import type { Join } from '../../dht/join/join.ts'
import type { Members } from '../../dht/members.ts'

export interface OriginSeekersComponents {
  members: Pick<Members, 'list'>
  join: Pick<Join, 'untilJoined'>
  routing: Pick<ContentRouting, 'find' | 'provide' | 'withdraw'>
  clock: Clock
  log: Logger
}

/** The longest wait for a new peer to join its swarm, ms. */
const JOIN_MS_MAX = 5_000
/** Look-ups are cached this long, ms, because each costs dozens of messages. */
const LOOK_UP_EVERY_MS = 10_000
const LOOK_UP_DEADLINE_MS = 1_000
const DOWNLOADERS_MAX = 8

/** The peers to ask about a model: all connected ones, and those that the DHT names as downloading it. */
export class OriginSeekers implements OriginSwarm {
  readonly #components: OriginSeekersComponents
  readonly #doorCount: number
  readonly #found = new Map<string, { peers: string[]; atMs: number }>()

  /** @param doorCount addresses given to join through; with none, nobody is waited for */
  constructor(components: OriginSeekersComponents, doorCount: number) {
    this.#components = components
    this.#doorCount = doorCount
  }

  async peersToAsk(originId: string, signal: AbortSignal): Promise<string[]> {
    const { members, join } = this.#components
    if (members.list().length === 0 && this.#doorCount > 0) {
      // Without peers nobody is asked; the next call waits again.
      await join.untilJoined({ deadlineMs: JOIN_MS_MAX, signal }).catch(() => {})
    }
    return [...members.list(), ...(await this.#downloaders(originId, signal))]
  }

  announce(originId: string): void {
    this.#tell(this.#components.routing.provide(originId, 'stored'))
  }

  withdraw(originId: string): void {
    this.#found.delete(originId)
    this.#tell(this.#components.routing.withdraw(originId, 'stored'))
  }

  async #downloaders(originId: string, signal: AbortSignal): Promise<string[]> {
    const { routing, clock } = this.#components
    const known = this.#found.get(originId)
    if (known !== undefined && clock.nowMs() - known.atMs < LOOK_UP_EVERY_MS) return known.peers
    const peers: string[] = []
    this.#found.set(originId, { peers, atMs: clock.nowMs() })
    const options = { signal, max: DOWNLOADERS_MAX, deadlineMs: LOOK_UP_DEADLINE_MS }
    for await (const peer of routing.find(originId, 'stored', options)) peers.push(peer)
    return peers
  }

  #tell(telling: Promise<void>): void {
    telling.catch((error: unknown) => {
      this.#components.log.warn({ error: messageOf(error) }, 'the DHT could not be told of a download')
    })
  }
}
