import type { PrivateKey } from '@libp2p/interface'
import type { Clock } from '../../base/clock.ts'
import { HearthError, isHearthError } from '../../base/errors.ts'
import { ADVERT_CONTEXTS_MAX } from '../../base/limits.ts'
import type { Members } from '../members.ts'
import { ADVERT_VERSION, signAdvert } from './advert.ts'
import type { AdvertBody, AdvertTier, SignedAdvert } from './advert.ts'

export interface AdvertSignerComponents {
  members: Pick<Members, 'self'>
  clock: Clock
  key: PrivateKey
  describe(): AdvertBody
}

export interface AdvertSignerOptions {
  ttlMs: number
  /** An advert is signed anew when it is older than this, ms; meanwhile the same bytes serve all who ask. */
  reuseMs: number
}

const TIER_RANK: Readonly<Record<AdvertTier, number>> = { warm: 0, stored: 1, partial: 2 }

/** Makes our own adverts, each with a higher sequence than the one before. */
export class AdvertSigner {
  readonly #components: AdvertSignerComponents
  readonly #options: AdvertSignerOptions
  #sequence = 0
  #said = ''
  #current: { signed: Promise<SignedAdvert>; atMs: number } | undefined

  constructor(components: AdvertSignerComponents, options: AdvertSignerOptions) {
    this.#components = components
    this.#options = options
  }

  /** The newest advert without its dates, to tell whether a new one differs. */
  get said(): string {
    return this.#said
  }

  /** The next advert is signed anew. */
  changed(): void {
    this.#current = undefined
  }

  /** Our advert as of now. */
  async sign(): Promise<SignedAdvert> {
    const nowMs = this.#components.clock.nowMs()
    if (this.#current !== undefined && nowMs - this.#current.atMs < this.#options.reuseMs)
      return await this.#current.signed
    const signed = this.#signNow()
    this.#current = { signed, atMs: nowMs }
    return await signed
  }

  /** Leaves out contexts that do not fit, the least useful first, so that a peer can still serve the others. */
  async #signNow(): Promise<SignedAdvert> {
    const body = this.#components.describe()
    this.#said = JSON.stringify(body)
    const contexts = [...body.contexts].sort((a, b) => TIER_RANK[a.tier] - TIER_RANK[b.tier])
    for (let count = ADVERT_CONTEXTS_MAX; count > 0; count = Math.floor(count / 2)) {
      try {
        return await this.#signWith({ ...body, contexts: contexts.slice(0, count) })
      } catch (error) {
        if (!isHearthError(error, 'limit-reached')) throw error
      }
    }
    throw new HearthError('limit-reached', 'our advert is too large even without contexts')
  }

  async #signWith(body: AdvertBody): Promise<SignedAdvert> {
    const { clock, members, key } = this.#components
    // Wall time as the base keeps it growing across restarts without a file.
    this.#sequence = Math.max(this.#sequence + 1, Math.floor(clock.wallMs()))
    return await signAdvert(
      {
        ...body,
        version: ADVERT_VERSION,
        peer: members.self,
        sequence: this.#sequence,
        issuedAtMs: Math.floor(clock.wallMs()),
        ttlMs: this.#options.ttlMs,
      },
      key,
    )
  }
}
