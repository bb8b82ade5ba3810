// Decides the batch of an encoder: the texts that wait longest, with others of similar length. Pure.
import { lengthClass } from './slot-scheduler.ts'

export interface EncoderBatchOptions {
  /** Texts of one step. */
  rowsMax: number
  /** Tokens of one step, padding included; a longer text gets its own step. */
  tokensMax: number
}

export interface WaitingText {
  readonly tokens: readonly number[]
}

/** The texts of the next step, from the waiting ones (oldest first); includes the first, if any. */
export function nextBatch<T extends WaitingText>(waiting: Iterable<T>, options: EncoderBatchOptions): T[] {
  const batch: T[] = []
  let width = 0
  for (const text of waiting) {
    const [first] = batch
    if (first !== undefined && lengthClass(text.tokens.length) !== lengthClass(first.tokens.length)) continue
    const widened = Math.max(width, text.tokens.length)
    const isFull = batch.length === options.rowsMax || widened * (batch.length + 1) > options.tokensMax
    if (first !== undefined && isFull) break
    batch.push(text)
    width = widened
  }
  return batch
}
