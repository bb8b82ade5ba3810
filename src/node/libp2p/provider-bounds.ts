import type { SingleKadDHT } from '@libp2p/kad-dht'
import type { PeerId } from '@libp2p/interface'
import type { CID } from 'multiformats/cid'
import { requirePatchable } from '../../base/patched.ts'
import type { Clock } from '../../base/clock.ts'
import { PROVIDER_RECORDS_MAX, PROVIDER_RECORDS_PER_PEER_MAX } from '../../base/limits.ts'

/** Of kad-dht's store of provider records; its types leave it out. */
interface ProviderStore {
  addProvider(this: ProviderStore, cid: CID, provider: PeerId, options?: object): Promise<void>
}

export interface ProviderBoundsComponents {
  dht: SingleKadDHT
  clock: Clock
}

/**
 * Bounds the provider records that are kept for other peers: kad-dht keeps as many as it is sent. Records of a
 * peer over its bound are not kept, as if their message was lost. Our own are not counted.
 */
export function boundProviderRecords(
  { dht, clock }: ProviderBoundsComponents,
  options: { self: PeerId; validityMs: number },
): void {
  const store = requirePatchable(
    '@libp2p/kad-dht',
    (dht as unknown as { providers: ProviderStore }).providers,
    { addProvider: 3 },
  )
  const book = new ProviderRecords(options.validityMs)
  const add = store.addProvider.bind(store)
  store.addProvider = async (cid, provider, signal) => {
    const isOurs = provider.equals(options.self)
    if (isOurs || book.take(provider.toString(), cid.toString(), clock.nowMs()))
      await add(cid, provider, signal)
  }
}

/** Which records are kept, by peer, and when each was last sent. Expired ones are gone from the store too. */
export class ProviderRecords {
  readonly #validityMs: number
  /** Oldest first. */
  readonly #sentAtMs = new Map<string, Map<string, number>>()
  #count = 0

  constructor(validityMs: number) {
    this.#validityMs = validityMs
  }

  /** Whether there is room for the record; then it counts. */
  take(peer: string, key: string, nowMs: number): boolean {
    const records = this.#sentAtMs.get(peer) ?? new Map<string, number>()
    this.#expire(peer, records, nowMs)
    if (!records.has(key)) {
      if (records.size >= PROVIDER_RECORDS_PER_PEER_MAX) return false
      if (this.#count >= PROVIDER_RECORDS_MAX) this.#expireAll(nowMs)
      if (this.#count >= PROVIDER_RECORDS_MAX) return false
      this.#count += 1
    }
    records.delete(key)
    records.set(key, nowMs)
    this.#sentAtMs.set(peer, records)
    return true
  }

  #expireAll(nowMs: number): void {
    for (const [peer, records] of this.#sentAtMs) this.#expire(peer, records, nowMs)
  }

  #expire(peer: string, records: Map<string, number>, nowMs: number): void {
    for (const [key, sentAtMs] of records) {
      if (nowMs - sentAtMs < this.#validityMs) return
      records.delete(key)
      this.#count -= 1
    }
    if (records.size === 0) this.#sentAtMs.delete(peer)
  }
}
