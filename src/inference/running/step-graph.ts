// One step of a model: some tokens for some rows, after what the key-value store has of them.
import type { KvShape } from '../graph/decoder.ts'
import type { KvPart, KvRows, KvStore } from './kv-store.ts'

/**
 * The past of a step's rows. `slots`: rows are slots 0, 1, 2, … of the store, one token each.
 * `packed`: all rows come after the first `count` tokens of one slot of a store.
 */
export type StepPast =
  | { kind: 'none' }
  | { kind: 'slots'; store: KvStore }
  | { kind: 'packed'; store: KvStore; slot: number; count: number }

export interface StepInput {
  /** Token ids of each row; rows are right-padded to the longest. */
  rows: readonly (readonly number[])[]
  past: StepPast
  /** Tokens that come before each row; 0 for all when there is no past. */
  pastLengths: readonly number[]
  /** Whether logits are wanted; without them, `best` is all that there is. */
  wantsLogits: boolean
}

export interface StepOutput {
  /** The likeliest token after the row's last; the first of equals. */
  best(row: number): number
  /** Whether the logits after the row's last token are numbers to choose from. */
  hasNumbers(row: number): boolean
  /** The logits after the row's last token: [vocabulary]. Valid until the next step. */
  logits(row: number): Float32Array
  /** The keys or values that the step made, for all rows. */
  keyValues(layer: number, part: KvPart): KvRows
  /** Where the row's new tokens begin in `keyValues`. */
  newFrom(row: number): number
  /** To be called when the store has all that the step made, and nothing else since the step began. */
  kept?: (() => void) | undefined
}

export interface StepGraph {
  readonly kvShape: KvShape
  readonly vocabularySize: number
  /** Whether several rows may come after one packed past. */
  readonly sharesPrefixes: boolean
  run(input: StepInput): Promise<StepOutput>
  close(): Promise<void>
}

/**
 * Whether logits with this greatest and this sum are numbers. Some may be minus infinity: a mask of the model's
 * own. All of them 0 means that a norm overflowed inside its kernel, which gives zeros.
 */
export function areNumbers({ top, sum }: { top: number; sum: number }): boolean {
  return Number.isFinite(top) && !Number.isNaN(sum) && !(top === 0 && sum === 0)
}
