// A model that continues sequences of tokens: the layer of onnxruntime engines below text.
import type { EngineFacts } from './engine.ts'

/** One sequence to continue. */
export interface TokenSequence {
  /** At least one. */
  readonly promptTokens: readonly number[]
  /** Tokens that may be added, at least 1. With the prompt's, at most the model's `contextLengthMax`. */
  readonly tokensMax: number
  /**
   * Whether the next token is the likeliest one, and nothing more is wanted of the logits. Then `take` is
   * called, and where all sequences of a step are so, the logits need not leave the model.
   */
  readonly isGreedy: boolean
  /** Takes the likeliest token. Returns it, or undefined when the sequence is complete. */
  take(token: number): number | undefined
  /**
   * Takes the logits [vocabulary] that follow the sequence so far, valid during the call only. Returns
   * the token chosen, or undefined when the sequence is complete.
   */
  next(logits: Float32Array): number | undefined
}

export interface TokenModelFacts extends EngineFacts {
  engine: 'ort-delta' | 'ort-present'
  vocabularySize: number
}

export interface TokenModel {
  readonly facts: TokenModelFacts
  /** Runs a sequence to its end, in parallel with others. Throws the signal's reason, or `engine-failed`. */
  run(sequence: TokenSequence, signal: AbortSignal | undefined, onProgress?: () => void): Promise<void>
  close(): Promise<void>
}
