// Runs a stock export: past keys and values in, present ones out, logits at every position. Correct for
// both kinds of attention, and slow, because onnxruntime copies every output: see delta-graph.ts.
import type { InferenceSession, Tensor } from 'onnxruntime-node'
import type { KvShape } from '../graph/decoder.ts'
import type { KvRows } from './kv-store.ts'
import { floatData, openSession, type Feeds, type SessionOptions } from './onnx-session.ts'
import { FLOAT, unsupported, type AttentionKind, type Decoder } from '../graph/decoder.ts'
import { integers, maskOf, pastFeeds, pastTokensOf, tokenFeeds, widthOf } from './step-feeds.ts'
import { greatest } from '../sampling/sampling.ts'
import { areNumbers, type StepGraph, type StepInput, type StepOutput } from './step-graph.ts'

export class PresentGraph implements StepGraph {
  readonly kvShape: KvShape
  readonly vocabularySize: number
  /** GroupQueryAttention takes a past for one row at a time only. */
  readonly sharesPrefixes = false
  readonly #session: InferenceSession
  readonly #attention: AttentionKind

  private constructor(session: InferenceSession, decoder: Decoder) {
    this.#session = session
    this.kvShape = decoder.kvShape
    this.vocabularySize = decoder.vocabularySize
    this.#attention = decoder.attention
  }

  /** Throws `model-unsupported`. */
  static async open(path: string, decoder: Decoder, options: SessionOptions): Promise<PresentGraph> {
    if (decoder.cacheType !== FLOAT) throw unsupported('its stock form has a cache that is not fp32')
    return new PresentGraph(await openSession({ model: path }, options), decoder)
  }

  async run(input: StepInput): Promise<StepOutput> {
    const width = widthOf(input)
    const pastTokens = pastTokensOf(input.past)
    const feeds: Feeds = {
      ...tokenFeeds(input, width),
      attention_mask: this.#mask(input, width, pastTokens),
      num_logits_to_keep: integers([width], []),
    }
    const wanted = Object.entries(feeds).filter(([name]) => this.#session.inputNames.includes(name))
    const past = pastFeeds(input.past, this.kvShape, input.rows.length)
    const outputs = await this.#session.run({ ...Object.fromEntries(wanted), ...past })
    return this.#output(input, outputs, width, pastTokens)
  }

  async close(): Promise<void> {
    await this.#session.release()
  }

  /** Grouped-query attention counts the ones: a slot has room for the new one. Plain attention looks where they are. */
  #mask(input: StepInput, width: number, pastTokens: number): Tensor {
    if (this.#attention === 'plain') return maskOf(input, pastTokens + width, pastTokens)
    const [pastLength = 0] = input.pastLengths
    const isSlots = input.past.kind === 'slots'
    if (!isSlots) return maskOf(input, pastTokens + width, pastLength)
    const ones = {
      ...input,
      pastLengths: input.pastLengths.map((length) => length + 1),
      rows: input.rows.map(() => []),
    }
    return maskOf(ones, pastTokens, 0)
  }

  #output(
    { rows, pastLengths }: StepInput,
    outputs: InferenceSession.ReturnType,
    width: number,
    pastTokens: number,
  ): StepOutput {
    const logits = floatData(outputs, 'logits')
    const { vocabularySize } = this
    const isGrouped = this.#attention === 'grouped-query'
    const { keyValueHeads, headSize } = this.kvShape
    const logitsOf = (row: number): Float32Array => {
      const end = row * width + (rows[row]?.length ?? 1)
      return logits.subarray((end - 1) * vocabularySize, end * vocabularySize)
    }
    return {
      best: (row) => greatest(logitsOf(row)),
      hasNumbers: (row) => {
        const rowLogits = logitsOf(row)
        const sum = rowLogits.reduce((total, logit) => total + logit, 0)
        return areNumbers({ top: rowLogits[greatest(rowLogits)] ?? Number.NaN, sum })
      },
      logits: logitsOf,
      keyValues: (layer, part): KvRows => {
        const data = floatData(outputs, `present.${layer}.${part}`)
        return { data, tokens: data.length / (rows.length * keyValueHeads * headSize) }
      },
      newFrom: (row) => (isGrouped ? (pastLengths[row] ?? 0) : pastTokens),
    }
  }
}
