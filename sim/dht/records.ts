import type { Id } from './routing-table.ts'

/** The provider records that one peer stores, each until it expires. */
export class Records {
  readonly #providers = new Map<Id, Map<Id, number>>()

  put(key: Id, provider: Id, endsMs: number): void {
    const providers = this.#providers.get(key) ?? new Map<Id, number>()
    this.#providers.set(key, providers.set(provider, endsMs))
  }

  /** The providers of a key whose records have not ended. */
  get(key: Id, nowMs: number): Id[] {
    const providers = this.#providers.get(key)
    if (providers === undefined) return []
    for (const [provider, endsMs] of providers) if (endsMs <= nowMs) providers.delete(provider)
    return [...providers.keys()]
  }

  clear(): void {
    this.#providers.clear()
  }
}
