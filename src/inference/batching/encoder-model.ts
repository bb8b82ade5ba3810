// Runs an encoder: one vector per text. Waiting texts share steps.
import '../device/no-telemetry.ts'
import { Tensor, type InferenceSession } from 'onnxruntime-node'
import { HearthError, messageOf } from '../../base/errors.ts'
import { noNumbers } from '../contract/engine.ts'
import type { EmbeddingRecipe } from '../contract/embedding-recipe.ts'
import { runApart, runKernels } from './apart.ts'
import { nextBatch, type EncoderBatchOptions } from './core/encoder-batch.ts'
import { embed } from './embedding-head.ts'
import { floatData, type Feeds } from '../running/onnx-session.ts'

/** One text. */
export interface EncoderText {
  tokens: readonly number[]
  /** Tokens at its beginning that the pooling leaves out; default none. */
  promptTokens?: number
}

interface Waiting extends EncoderText {
  finish: (answer: { vector: Float32Array } | { error: unknown }) => void
}

/** A text that every model can read: where it fails, the engine is at fault and no request is. */
const PROBE = { tokens: [0, 0] }

export class EncoderModel {
  readonly #session: InferenceSession
  readonly #output: string
  readonly #recipe: Pick<EmbeddingRecipe, 'pooling' | 'steps'>
  readonly #options: EncoderBatchOptions
  readonly #waiting = new Set<Waiting>()
  #isLooping = false
  #failure: HearthError | undefined

  constructor(
    session: InferenceSession,
    output: string,
    recipe: Pick<EmbeddingRecipe, 'pooling' | 'steps'>,
    options: EncoderBatchOptions,
  ) {
    this.#session = session
    this.#output = output
    this.#recipe = recipe
    // The graph's own pooling sums a padded row in another order than the same row alone.
    this.#options = recipe.pooling === 'graph' ? { ...options, rowsMax: 1 } : options
  }

  /** The text's vector. Throws the signal's reason, `request-invalid` for NaN, or `engine-failed`. */
  encode(text: EncoderText, signal: AbortSignal | undefined): Promise<Float32Array> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
    return new Promise((resolve, reject) => {
      const onAbort = (): void => finish({ error: signal?.reason })
      const finish: Waiting['finish'] = (answer) => {
        signal?.removeEventListener('abort', onAbort)
        this.#waiting.delete(waiting)
        if ('vector' in answer) resolve(answer.vector)
        else reject(answer.error)
      }
      const waiting: Waiting = { ...text, finish }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.add(waiting)
      if (!this.#isLooping) void this.#loop()
    })
  }

  async close(): Promise<void> {
    this.#fail(new HearthError('engine-failed', 'the engine was closed'))
    await this.#session.release()
  }

  async #loop(): Promise<void> {
    this.#isLooping = true
    try {
      // Requests that arrive together share a step.
      await Promise.resolve()
      while (this.#waiting.size > 0) await this.#encodeBatch(nextBatch(this.#waiting, this.#options))
    } catch (error) {
      this.#fail(new HearthError('engine-failed', `the model: ${messageOf(error)}`, { cause: error }))
    } finally {
      this.#isLooping = false
    }
  }

  #fail(error: HearthError): void {
    this.#failure ??= error
    for (const { finish } of this.#waiting) finish({ error })
  }

  /** One text that the kernels cannot compute fails alone. */
  async #encodeBatch(batch: readonly Waiting[]): Promise<void> {
    await runApart(batch, (rows) => this.#step(rows), {
      probe: () => this.#session.run(this.#feeds([PROBE], PROBE.tokens.length)),
      blame: ({ finish }, error) => finish({ error }),
    })
  }

  async #step(batch: readonly Waiting[]): Promise<void> {
    // Two at least: matrix kernels sum one row in another order than several.
    const width = batch.reduce((longest, { tokens }) => Math.max(longest, tokens.length), 2)
    const outputs = await runKernels(() => this.#session.run(this.#feeds(batch, width)))
    const states = floatData(outputs, this.#output)
    const isText = this.#recipe.pooling === 'graph'
    const rowLength = states.length / batch.length
    const size = isText ? rowLength : rowLength / width
    for (const [row, { tokens, promptTokens, finish }] of batch.entries()) {
      const from = row * rowLength
      const rowStates = states.subarray(from, from + (isText ? size : tokens.length * size))
      const vector = embed(rowStates, size, this.#recipe, promptTokens)
      // Refuses this text only: fp16 weights can overflow for one text and not for its batch mates.
      finish(vector.every(Number.isFinite) ? { vector } : { error: noNumbers('input') })
    }
  }

  #feeds(batch: readonly Pick<Waiting, 'tokens'>[], width: number): Feeds {
    const make = (valueAt: (tokens: readonly number[], index: number) => number): Tensor => {
      const values = new BigInt64Array(batch.length * width)
      for (const [row, { tokens }] of batch.entries()) {
        for (let index = 0; index < width; index += 1)
          values[row * width + index] = BigInt(valueAt(tokens, index))
      }
      return new Tensor('int64', values, [batch.length, width])
    }
    const feeds: Feeds = {
      input_ids: make((tokens, index) => tokens[index] ?? 0),
      attention_mask: make((tokens, index) => (index < tokens.length ? 1 : 0)),
      token_type_ids: make(() => 0),
      position_ids: make((_tokens, index) => index),
    }
    const wanted = Object.entries(feeds).filter(([name]) => this.#session.inputNames.includes(name))
    return Object.fromEntries(wanted)
  }
}
