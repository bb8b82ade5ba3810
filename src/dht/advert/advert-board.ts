import { every } from '../../base/clock.ts'
import type { Cancel, Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { AdvertTable } from './advert-table.ts'
import type { AdvertChange, Holder, Taken } from './advert-table.ts'
import type { Advert } from './advert.ts'
import { EXPIRE_EVERY_MS } from '../timings.ts'

export interface AdvertBoardComponents {
  clock: Clock
  /** Asks a peer for its advert, and verifies it. Throws when it cannot. */
  fetch(peer: string): Promise<Advert>
}

export interface GetAdvertOptions {
  /** An advert that came longer ago is asked for again, ms. */
  maxAgeMs: number
  /** How long asking may take, ms. */
  deadlineMs: number
  signal?: AbortSignal | undefined
}

/** The adverts of other peers. Callers that need a fresh one ask for it. */
export class AdvertBoard {
  readonly #clock: Clock
  readonly #fetch: (peer: string) => Promise<Advert>
  readonly #table = new AdvertTable()
  readonly #fetching = new Map<string, Promise<Advert>>()
  #cancelExpiry: Cancel = () => {}

  constructor(components: AdvertBoardComponents) {
    this.#clock = components.clock
    this.#fetch = (peer) => components.fetch(peer)
  }

  start(): void {
    this.#cancelExpiry = every(this.#clock, EXPIRE_EVERY_MS, () => this.#table.expire(this.#clock.nowMs()))
  }

  stop(): void {
    this.#cancelExpiry()
  }

  /**
   * The advert of `peer`, asked for unless one is known that came within `maxAgeMs`.
   * Throws what `Network.open` throws, `message-invalid` or `deadline-passed`.
   */
  async get(peer: string, options: GetAdvertOptions): Promise<Advert> {
    const known = this.#table.get(peer, this.#clock.nowMs())
    if (known !== undefined && this.#clock.nowMs() - known.receivedAtMs <= options.maxAgeMs)
      return known.advert
    return await withDeadline(
      {
        clock: this.#clock,
        ms: options.deadlineMs,
        whose: `the advert of peer ${peer}`,
        signal: options.signal,
      },
      () => this.#fetchOnce(peer),
    )
  }

  /** All adverts that are valid now. */
  known(): Advert[] {
    return this.#table.known(this.#clock.nowMs()).map(({ advert }) => advert)
  }

  /** The advert of `peer` that is valid now, without asking. */
  peek(peer: string): Advert | undefined {
    return this.#table.get(peer, this.#clock.nowMs())?.advert
  }

  /** The peers that claim to hold the context at any tier, by peer id. */
  holders(contextId: string): Holder[] {
    return this.#table.holders(contextId, this.#clock.nowMs())
  }

  /** Calls `listener` with every advert that is new or says something else than the one before. */
  onChange(listener: (advert: Advert) => void): Cancel {
    return this.#table.onChange(({ advert }: AdvertChange) => {
      if (advert !== undefined) listener(advert)
    })
  }

  /** Calls `listener` with every peer whose advert has expired or that is gone, and when it last came. */
  onLost(listener: (peer: string, heardAtMs: number) => void): Cancel {
    return this.#table.onChange(({ peer, advert, heardAtMs }: AdvertChange) => {
      if (advert === undefined) listener(peer, heardAtMs)
    })
  }

  /** Takes an advert that has been verified. */
  take(advert: Advert): Taken {
    return this.#table.take(advert, this.#clock.nowMs())
  }

  /** Drops the advert of a peer that does not answer. */
  remove(peer: string): void {
    this.#table.remove(peer)
  }

  /** One question per peer at a time; those who ask meanwhile get the same answer. */
  #fetchOnce(peer: string): Promise<Advert> {
    const under = this.#fetching.get(peer)
    if (under !== undefined) return under
    const fetched = this.#fetch(peer)
      .then((advert) => {
        this.take(advert)
        return advert
      })
      .finally(() => this.#fetching.delete(peer))
    this.#fetching.set(peer, fetched)
    return fetched
  }
}
