// The usual loop on a stock export: the whole cache out of onnxruntime, and in again, one token longer, at every
// token; of the logits, which leave for every row, the greatest is the next token.
import '../../src/inference/device/no-telemetry.ts'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { greatest } from '../../src/inference/sampling/sampling.ts'
import { THREADS, type BenchModel } from './models.ts'
import { draw, PROMPT_TOKENS, stepRate } from './sequences.ts'

export class PresentLoop {
  readonly #session: InferenceSession
  readonly #model: BenchModel

  private constructor(session: InferenceSession, model: BenchModel) {
    this.#session = session
    this.#model = model
  }

  static async open(model: BenchModel): Promise<PresentLoop> {
    const options = { intraOpNumThreads: THREADS, logSeverityLevel: 3 } as const
    return new PresentLoop(await InferenceSession.create(model.path, options), model)
  }

  /** Tokens per second of decoding, after `PROMPT_TOKENS` tokens that are in the cache already; see `stepRate`. */
  async rate(rows: number, tokens: number): Promise<number> {
    const { layers, keyValueHeads, headSize, vocabulary } = this.#model.shape
    const names = Array.from({ length: layers }, (_, layer) => [`${layer}.key`, `${layer}.value`]).flat()
    const dims = [rows, keyValueHeads, PROMPT_TOKENS, headSize]
    const size = rows * keyValueHeads * PROMPT_TOKENS * headSize
    let past: Record<string, Tensor> = Object.fromEntries(
      names.map((name) => [
        `past_key_values.${name}`,
        new Tensor('float32', new Float32Array(size).fill(0.1), dims),
      ]),
    )
    let ids = draw(rows, vocabulary)
    const endedMs: number[] = []
    for (let step = 0; step < tokens; step += 1) {
      const mask = new BigInt64Array(rows * (PROMPT_TOKENS + step + 1)).fill(1n)
      const feeds = {
        input_ids: integers(BigInt64Array.from(ids, BigInt), rows),
        attention_mask: integers(mask, rows),
      }
      const outputs = await this.#session.run({ ...past, ...feeds })
      const logits = outputs['logits']?.data as Float32Array
      ids = ids.map((_, row) => greatest(logits.subarray(row * vocabulary, (row + 1) * vocabulary)))
      past = Object.fromEntries(
        names.map((name) => [`past_key_values.${name}`, outputs[`present.${name}`] as Tensor]),
      )
      endedMs.push(performance.now())
    }
    return stepRate(rows, endedMs)
  }

  async close(): Promise<void> {
    await this.#session.release()
  }
}

function integers(values: BigInt64Array, rows: number): Tensor {
  return new Tensor('int64', values, [rows, values.length / rows])
}
