// The keys and values of shared prefixes, within a memory limit: the least recently used are evicted,
// and computed again when a prompt needs them.
import type { KvShape } from '../graph/decoder.ts'
import { KvStore } from '../running/kv-store.ts'
import type { Prefix } from './core/prefix.ts'

export class PrefixStores {
  readonly #shape: KvShape
  readonly #bytesMax: number
  /** Least recently used first. */
  readonly #stores = new Map<number, KvStore>()
  #bytes = 0

  constructor(shape: KvShape, bytesMax: number) {
    this.#shape = shape
    this.#bytesMax = bytesMax
  }

  /** Bytes of all kept prefixes. */
  get bytes(): number {
    return this.#bytes
  }

  /** Whether a prefix is short enough to keep. */
  canHold(prefix: Prefix): boolean {
    return this.#bytesOf(prefix.tokens.length) <= this.#bytesMax
  }

  get({ id }: Prefix): KvStore | undefined {
    const store = this.#stores.get(id)
    if (store === undefined) return undefined
    this.#stores.delete(id)
    this.#stores.set(id, store)
    return store
  }

  /** An empty store as long as the prefix; evicts others first where needed. */
  add(prefix: Prefix): KvStore {
    const bytes = this.#bytesOf(prefix.tokens.length)
    for (const [id, { capacity }] of this.#stores) {
      if (this.#bytes + bytes <= this.#bytesMax) break
      this.#stores.delete(id)
      this.#bytes -= this.#bytesOf(capacity)
    }
    const store = new KvStore(this.#shape, 1)
    store.resize(prefix.tokens.length, 0)
    this.#stores.set(prefix.id, store)
    this.#bytes += bytes
    return store
  }

  /** Forgets a prefix that is kept. */
  drop({ id }: Prefix): void {
    const store = this.#stores.get(id)
    if (store === undefined) return
    this.#stores.delete(id)
    this.#bytes -= this.#bytesOf(store.capacity)
  }

  #bytesOf(tokens: number): number {
    return tokens * KvStore.tokenBytes(this.#shape)
  }
}
