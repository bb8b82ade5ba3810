import { every } from '../../base/clock.ts'
import type { Cancel, Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import { pick } from '../../base/random.ts'
import type { Random } from '../../base/random.ts'
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

export interface NewcomersOptions {
  /** How often one connected member, chosen at random, is asked whom it knows, ms. */
  askEveryMs: number
  /** With so many members connected, nobody new is dialled. */
  membersWanted: number
  /** Dials begun after one answer. */
  dialsAtOnce: number
  dialDeadlineMs: number
  /** A peer that could not be dialled is left alone for so long, ms. */
  avoidMs: number
  /** Failed peers remembered at once; more only means that one may be dialled again sooner. */
  avoidedMax: number
}

export const NEWCOMERS_OPTIONS: Readonly<NewcomersOptions> = NEWCOMERS_TIMINGS

/**
 * Makes a peer that submits meet peers that join later. Those find the members that keep the DHT by
 * themselves; but a submitter is often a client of the DHT, which nobody can find. So it asks: twice a
 * second, one member, whom it is connected to. Asking needs no state at the other side, and a lost
 * answer costs half a second (docs/decisions/0002-network-stack-and-dht-constants.md).
 */
export class Newcomers {
  readonly #components: NewcomersComponents
  readonly #options: NewcomersOptions
  readonly #avoidUntilMs = new Map<string, number>()
  readonly #dialling = new Set<string>()
  #asking = false
  #cancel: Cancel = () => {}
  #stopped = new AbortController()

  constructor(components: NewcomersComponents, options: NewcomersOptions = NEWCOMERS_OPTIONS) {
    this.#components = components
    this.#options = options
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
    const connected = members.list()
    const asked = pick(random, connected)
    if (asked === undefined || this.#asking || connected.length >= this.#options.membersWanted) return
    this.#asking = true
    try {
      this.#meet(await this.#components.peersOf(asked, this.#stopped.signal))
    } catch (error) {
      log.debug({ peer: asked, error: messageOf(error) }, 'a member did not say whom it knows')
    } finally {
      this.#asking = false
    }
  }

  #meet(introduced: readonly PeerAddresses[]): void {
    const { members, clock } = this.#components
    const connected = new Set([members.self, ...members.list()])
    const strangers = introduced.filter(
      ({ peer }) =>
        !connected.has(peer) &&
        !this.#dialling.has(peer) &&
        (this.#avoidUntilMs.get(peer) ?? 0) <= clock.nowMs(),
    )
    for (const stranger of strangers.slice(0, this.#options.dialsAtOnce)) void this.#dial(stranger)
  }

  async #dial(stranger: PeerAddresses): Promise<void> {
    const { members, clock, log } = this.#components
    this.#dialling.add(stranger.peer)
    try {
      await members.meet(stranger, {
        deadlineMs: this.#options.dialDeadlineMs,
        signal: this.#stopped.signal,
      })
      this.#avoidUntilMs.delete(stranger.peer)
    } catch (error) {
      if (this.#avoidUntilMs.size >= this.#options.avoidedMax) this.#avoidUntilMs.clear()
      this.#avoidUntilMs.set(stranger.peer, clock.nowMs() + this.#options.avoidMs)
      log.debug({ peer: stranger.peer, error: messageOf(error) }, 'an introduced peer could not be met')
    } finally {
      this.#dialling.delete(stranger.peer)
    }
  }
}
