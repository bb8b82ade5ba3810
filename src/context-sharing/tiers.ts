/** Where a context is on this peer, as far as its bytes go ("warm" is the engine's to say). */
export type ContextTier =
  | { kind: 'absent' }
  /** Some chunks are verified on disk; `share` is their part of all bytes, in [0, 1]. */
  | { kind: 'partial'; share: number }
  /** Every chunk is verified on disk and the folder is in place. */
  | { kind: 'stored' }

/** Told after it became true, never before. */
export type TierListener = (contextId: string, tier: ContextTier) => void
