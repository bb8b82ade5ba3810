import { ADVERTS_KEPT_MAX } from '../../base/limits.ts'
import type { Advert, AdvertTier } from './advert.ts'

/** An advert of another peer, and when it came. Times are of the monotonic clock, ms. */
export interface KnownAdvert {
  advert: Advert
  receivedAtMs: number
  expiresAtMs: number
}

export interface Holder extends KnownAdvert {
  peer: string
  tier: AdvertTier
}

/** `advert` is undefined when the peer is forgotten: expired, gone, or displaced by newer ones. */
export interface AdvertChange {
  peer: string
  advert: Advert | undefined
  before: Advert | undefined
  /** When the last advert of the peer came. */
  heardAtMs: number
}

/** The outcome for a received advert: `repeated` is known already, `older` is a replay. */
export type Taken = 'new' | 'changed' | 'renewed' | 'repeated' | 'older'

/**
 * The adverts of other peers, bounded by ADVERTS_KEPT_MAX. Plain state: no clock, no I/O.
 * The ttl of an advert counts from its arrival, so clocks of peers do not matter; a copy does not prolong it.
 */
export class AdvertTable {
  readonly #kept = new Map<string, KnownAdvert>()
  readonly #holders = new Map<string, Set<string>>()
  readonly #listeners = new Set<(change: AdvertChange) => void>()
  readonly #keptMax: number

  constructor(keptMax: number = ADVERTS_KEPT_MAX) {
    this.#keptMax = keptMax
  }

  /** Calls `listener` for every new, changed or lost advert; the returned function ends that. */
  onChange(listener: (change: AdvertChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Takes a verified advert. */
  take(advert: Advert, nowMs: number): Taken {
    const before = this.#kept.get(advert.peer)
    if (before !== undefined && advert.sequence < before.advert.sequence) return 'older'
    if (before !== undefined && advert.sequence === before.advert.sequence) return 'repeated'
    this.#forgetHolder(before?.advert)
    // Deleting first moves it to the end: the map's order is that of receipt, the first is the stalest.
    this.#kept.delete(advert.peer)
    this.#kept.set(advert.peer, { advert, receivedAtMs: nowMs, expiresAtMs: nowMs + advert.ttlMs })
    for (const { contextId } of advert.contexts) this.#holdersOf(contextId).add(advert.peer)
    this.#makeRoom()
    if (before !== undefined && sameStatement(before.advert, advert)) return 'renewed'
    this.#tell({ peer: advert.peer, advert, before: before?.advert, heardAtMs: nowMs })
    return before === undefined ? 'new' : 'changed'
  }

  /** Drops what has expired. */
  expire(nowMs: number): void {
    for (const [peer, { expiresAtMs }] of this.#kept) if (expiresAtMs <= nowMs) this.remove(peer)
  }

  /** Drops a peer that is known to be gone. */
  remove(peer: string): void {
    const before = this.#kept.get(peer)
    if (before === undefined) return
    this.#forgetHolder(before.advert)
    this.#kept.delete(peer)
    this.#tell({ peer, advert: undefined, before: before.advert, heardAtMs: before.receivedAtMs })
  }

  /** The advert of `peer` that is still valid. */
  get(peer: string, nowMs: number): KnownAdvert | undefined {
    const kept = this.#kept.get(peer)
    return kept !== undefined && kept.expiresAtMs > nowMs ? kept : undefined
  }

  /** All valid adverts. */
  known(nowMs: number): KnownAdvert[] {
    return [...this.#kept.values()].filter(({ expiresAtMs }) => expiresAtMs > nowMs)
  }

  /** The peers whose valid advert lists the context, with the tier they claim; by peer id. */
  holders(contextId: string, nowMs: number): Holder[] {
    const holders: Holder[] = []
    for (const peer of this.#holders.get(contextId) ?? []) {
      const known = this.get(peer, nowMs)
      const context = known?.advert.contexts.find((one) => one.contextId === contextId)
      if (known !== undefined && context !== undefined) holders.push({ ...known, peer, tier: context.tier })
    }
    return holders.sort((a, b) => (a.peer < b.peer ? -1 : 1))
  }

  #makeRoom(): void {
    const stalest = this.#kept.keys().next()
    if (this.#kept.size > this.#keptMax && stalest.done !== true) this.remove(stalest.value)
  }

  #holdersOf(contextId: string): Set<string> {
    const existing = this.#holders.get(contextId)
    if (existing !== undefined) return existing
    const created = new Set<string>()
    this.#holders.set(contextId, created)
    return created
  }

  #forgetHolder(advert: Advert | undefined): void {
    for (const { contextId } of advert?.contexts ?? []) {
      const holders = this.#holders.get(contextId)
      holders?.delete(advert?.peer ?? '')
      if (holders?.size === 0) this.#holders.delete(contextId)
    }
  }

  #tell(change: AdvertChange): void {
    for (const listener of this.#listeners) listener(change)
  }
}

/** Whether two adverts of a peer say the same but for when they were signed. */
function sameStatement(one: Advert, other: Advert): boolean {
  const said = ({ agent, contexts, device, slots, replicas, serving }: Advert): string =>
    JSON.stringify({ agent, contexts, device, slots, replicas, serving })
  return said(one) === said(other)
}
