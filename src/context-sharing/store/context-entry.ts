import type { RuntimeInfo } from '../content/manifest.ts'
import type { ContextMemory } from './store-memory.ts'
import type { ContextTier } from './tiers.ts'

/** A context of which at least the manifest is in the store. */
export interface ContextEntry extends ContextMemory {
  contextId: string
  names: string[]
  tier: ContextTier
  bytes: number
  files: number
  runtime: RuntimeInfo
}

/** A file that was found damaged, and the contexts that are not whole any more for that. */
export interface Damage {
  path: string
  chunks: number
  contextIds: string[]
  /** Those of them that were stored until now. */
  wholeIds: string[]
}
