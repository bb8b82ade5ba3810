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

/** A damaged file, and the contexts that it makes incomplete. */
export interface Damage {
  path: string
  chunks: number
  contextIds: string[]
  /** The contexts among them that were `stored` before. */
  wholeIds: string[]
}
