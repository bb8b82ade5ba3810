import { every } from '../../base/clock.ts'
import type { Cancel, Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { Random } from '../../base/random.ts'
import { NewcomersBook, type NewcomersOptions } from './core/newcomers.ts'
import type { Members, PeerAddresses } from '../members.ts'
import { NEWCOMERS_TIMINGS } from '../timings.ts'

export interface NewcomersComponents {
  members: Members
  /** The members that a peer is connected to: `AdvertExchange.peersOf`. */
  peersOf(peer: string, signal: AbortSignal): Promise<PeerAddresses[]>
  clock: Clock
  random: Random
  log: Logger
}

/**
 * The shell of core/newcomers: makes a peer that submits meet peers that join later. Those find the members that keep the DHT by
 * themselves; but a submitter is often a client of the DHT, which nobody can find. So it asks: twice a
 * second, one member, whom it is connected to. Asking needs no state at the other side, and a lost
 * answer costs half a second (docs/decisions/0002-network-stack-and-dht-constants.md).
 */
export class Newcomers {
  readonly #components: NewcomersComponents
  readonly #options: NewcomersOptions
  readonly #book: NewcomersBook
  #cancel: Cancel = () => {}
  #stopped = new AbortController()

  constructor(components: NewcomersComponents, options: NewcomersOptions = NEWCOMERS_TIMINGS) {
    this.#components = components
    this.#options = options
    this.#book = new NewcomersBook(options)
  }

  start(): void {
    this.#stopped = new AbortController()
    this.#cancel = every(this.#components.clock, this.#options.askEveryMs, () => void this.#ask())
  }

  stop(): void {
    this.#cancel()
    this.#stopped.abort(new Error('stopped'))
  }

  async #ask(): Promise<void> {
    const { members, random, log } = this.#components
    const asked = this.#book.ask(members.list(), random)
    if (asked === undefined) return
    try {
      this.#meet(asked, await this.#components.peersOf(asked, this.#stopped.signal))
    } catch (error) {
      log.debug({ peer: asked, error: messageOf(error) }, 'a member did not say whom it knows')
    } finally {
      this.#book.answered()
    }
  }

  #meet(introducer: string, introduced: readonly PeerAddresses[]): void {
    const { members, clock } = this.#components
    const peers = new Map(introduced.map((one) => [one.peer, one]))
    const known = [members.self, ...members.list()]
    for (const stranger of this.#book.dial(introducer, [...peers.values()], known, clock.nowMs()))
      void this.#dial(stranger)
  }

  async #dial(stranger: PeerAddresses): Promise<void> {
    const { members, clock, log } = this.#components
    const { peer } = stranger
    try {
      await members.meet(stranger, {
        deadlineMs: this.#options.dialDeadlineMs,
        signal: this.#stopped.signal,
      })
      this.#book.met(peer)
    } catch (error) {
      this.#book.failed(peer, clock.nowMs())
      log.debug({ peer, error: messageOf(error) }, 'an introduced peer could not be met')
    }
  }
}
