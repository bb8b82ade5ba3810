// Runs an encoder: one vector per text. Waiting texts share steps.
import '../device/no-telemetry.ts'
import { Tensor, type InferenceSession } from 'onnxruntime-node'
import { HearthError, messageOf } from '../../base/errors.ts'
import type { Pooling } from '../contract/model-folder.ts'
import { runApart, runKernels } from './apart.ts'
import { nextBatch, type EncoderBatchOptions } from './core/encoder-batch.ts'
import { floatData, type Feeds } from '../running/onnx-session.ts'
import { unsupported } from '../graph/decoder.ts'
import type { OnnxModel } from '../onnx/onnx-reader.ts'

interface Waiting {
  tokens: readonly number[]
  finish: (answer: { vector: Float32Array } | { error: unknown }) => void
}

/** A text that every model can read: where it fails, the engine is at fault and no request is. */
const PROBE = { tokens: [0, 0] }

const STATE_OUTPUTS = ['last_hidden_state', 'token_embeddings']
const KNOWN_INPUTS = new Set(['input_ids', 'attention_mask', 'token_type_ids', 'position_ids'])

/** Whether the graph is an encoder: it reads text and generates none. */
export function isEncoder({ inputs, outputs }: OnnxModel): boolean {
  const hasCache = inputs.some(({ name }) => name.startsWith('past_key_values'))
  return !hasCache && outputs.some(({ name }) => STATE_OUTPUTS.includes(name))
}

/** The name of the output with the tokens' vectors. Throws `model-unsupported`. */
export function checkEncoder(model: OnnxModel): string {
  const initialized = new Set(model.initializers.map(({ name }) => name))
  const foreign = model.inputs.find(({ name }) => !KNOWN_INPUTS.has(name) && !initialized.has(name))
  if (foreign !== undefined)
    throw unsupported(`it needs an input named ${foreign.name}, which Hearth does not provide`)
  const output = STATE_OUTPUTS.find((name) => model.outputs.some((other) => other.name === name))
  if (output === undefined) throw unsupported(`it has none of the outputs ${STATE_OUTPUTS.join(', ')}`)
  return output
}

export class EncoderModel {
  readonly #session: InferenceSession
  readonly #output: string
  readonly #pooling: Pooling
  readonly #options: EncoderBatchOptions
  readonly #waiting = new Set<Waiting>()
  #isLooping = false
  #failure: HearthError | undefined

  constructor(session: InferenceSession, output: string, pooling: Pooling, options: EncoderBatchOptions) {
    this.#session = session
    this.#output = output
    this.#pooling = pooling
    this.#options = options
  }

  /** The text's vector. Throws the signal's reason, `request-invalid` for NaN, or `engine-failed`. */
  encode(tokens: readonly number[], signal: AbortSignal | undefined): Promise<Float32Array> {
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
      const waiting: Waiting = { tokens, finish }
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
    const size = states.length / (batch.length * width)
    for (const [row, { tokens, finish }] of batch.entries()) {
      const rowStates = states.subarray(row * width * size, (row * width + tokens.length) * size)
      const vector = pool(rowStates, size, this.#pooling)
      finish(vector.every(Number.isFinite) ? { vector } : { error: noNumbers() })
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

/** Refuses this text only: fp16 weights can overflow for one text and not for its batch mates. */
function noNumbers(): HearthError {
  return new HearthError(
    'request-invalid',
    'the model computes NaN for this input: change the input, or use another dtype of the model',
  )
}

/** `states` is [tokens, size]. */
export function pool(states: Float32Array, size: number, { kind, normalizes }: Pooling): Float32Array {
  const vector = kind === 'mean' ? mean(states, size) : pick(states, size, kind)
  if (!normalizes) return vector
  const length = Math.hypot(...vector)
  return length === 0 ? vector : vector.map((element) => element / length)
}

function pick(states: Float32Array, size: number, kind: 'first' | 'last'): Float32Array {
  return kind === 'first' ? states.slice(0, size) : states.slice(-size)
}

function mean(states: Float32Array, size: number): Float32Array {
  const sums = new Float64Array(size)
  for (let index = 0; index < states.length; index += 1) {
    sums[index % size] = (sums[index % size] as number) + (states[index] as number)
  }
  return Float32Array.from(sums, (sum) => (sum * size) / states.length)
}
