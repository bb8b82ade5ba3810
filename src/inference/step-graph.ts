// One step of a model: some tokens for some rows, after what the key-value store has of them.
import type { KvPart, KvRows, KvShape, KvStore } from './kv-store.ts'

/**
 * What the rows of a step come after. Rows that lie in the store are slots 0, 1, 2, …; `packed` is one
 * row, the first `count` tokens of a slot.
 */
export type StepPast = { kind: 'none' } | { kind: 'slots' } | { kind: 'packed'; slot: number; count: number }

export interface StepInput {
  /** Token ids of each row; rows are right-padded to the longest. */
  rows: readonly (readonly number[])[]
  past: StepPast
  /** Tokens that come before each row; 0 for all when there is no past. */
  pastLengths: readonly number[]
}

export interface StepOutput {
  /** The logits after the row's last token: [vocabulary]. Valid until the next step. */
  logits(row: number): Float32Array
  /** The keys or values that the step made, for all rows. */
  keyValues(layer: number, part: KvPart): KvRows
  /** Where the row's new tokens begin in `keyValues`. */
  newFrom(row: number): number
}

export interface StepGraph {
  readonly kvShape: KvShape
  readonly vocabularySize: number
  run(input: StepInput, store: KvStore): Promise<StepOutput>
  close(): Promise<void>
}
