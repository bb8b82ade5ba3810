import type { HeldContext } from './held-context.ts'
import { SHARE_STEP } from './timings.ts'

/** The tier of a context by its bytes on disk; only the engine can add "warm". */
export type ContextTier =
  | { kind: 'absent' }
  /** Some chunks are verified on disk; `share` is their part of all bytes, in [0, 1]. */
  | { kind: 'partial'; share: number }
  /** Every chunk is verified on disk and the folder is in place. */
  | { kind: 'stored' }

/** Called after the tier is reached, never before. */
export type TierListener = (contextId: string, tier: ContextTier) => void

/** Notifies listeners of changed tiers and names. */
export class TierTeller {
  readonly #tierOf: (contextId: string) => ContextTier
  readonly #listeners = new Set<TierListener>()

  constructor(tierOf: (contextId: string) => ContextTier) {
    this.#tierOf = tierOf
  }

  add(listener: TierListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  tell(contextId: string): void {
    const tier = this.#tierOf(contextId)
    for (const listener of this.#listeners) listener(contextId, tier)
  }

  /** Notifies listeners each time a context has grown enough, until it is closed. */
  follow(context: HeldContext): void {
    let told = 0
    context.onHeld(() => {
      const share = context.heldBytes / context.bytesTotal
      if (context.isStored || (told > 0 && share < told + SHARE_STEP)) return
      told = share
      this.tell(context.contextId)
    })
  }
}
