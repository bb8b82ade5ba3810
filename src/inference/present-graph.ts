// Runs a stock export: past keys and values in, present ones out, logits at every position. Correct for
// both kinds of attention, and slow, because onnxruntime copies every output: see delta-graph.ts.
import { Tensor, type InferenceSession } from 'onnxruntime-node'
import { HearthError } from '../base/errors.ts'
import { KV_PARTS, type KvPart, type KvRows, type KvShape, type KvStore } from './kv-store.ts'
import { floatData, openSession, type Feeds } from './onnx-session.ts'
import type { OnnxModel } from './onnx/onnx-reader.ts'
import type { StepGraph, StepInput, StepOutput, StepPast } from './step-graph.ts'

/**
 * `grouped-query`: onnxruntime's GroupQueryAttention. It takes a row's keys to be the first of its past,
 * as many as its mask has ones, and puts new ones right after them. `plain`: basic operators, which see
 * every key that the mask lets them, and put new ones after the whole past.
 */
export type AttentionKind = 'grouped-query' | 'plain'

const FLOAT = 1
const KNOWN_INPUTS = new Set(['input_ids', 'attention_mask', 'position_ids', 'num_logits_to_keep'])

/** What a decoder's inputs and outputs say of it. Throws `model-unsupported`, saying what is missing. */
export function describeDecoder(model: OnnxModel): {
  kvShape: KvShape
  vocabularySize: number
  attention: AttentionKind
} {
  const pasts = model.inputs.filter(({ name }) => /^past_key_values\.\d+\.(key|value)$/.test(name))
  const [past] = pasts
  const [, keyValueHeads, , headSize] = past?.dims ?? []
  if (typeof keyValueHeads !== 'number' || typeof headSize !== 'number') {
    throw unsupported('it has no past_key_values inputs of known size')
  }
  const foreign = model.inputs.find(({ name }) => !KNOWN_INPUTS.has(name) && !name.startsWith('past_key_val'))
  if (foreign !== undefined && !isInitialized(model, foreign.name)) {
    throw unsupported(`it wants an input named ${foreign.name}`)
  }
  const logits = model.outputs.find(({ name }) => name === 'logits')
  const vocabularySize = logits?.dims[2]
  if (typeof vocabularySize !== 'number') throw unsupported('it has no logits of known size')
  const isGrouped = model.nodes.some(({ operator }) => operator === 'GroupQueryAttention')
  return {
    kvShape: { layers: pasts.length / KV_PARTS.length, keyValueHeads, headSize },
    vocabularySize,
    attention: isGrouped ? 'grouped-query' : 'plain',
  }
}

function isInitialized(model: OnnxModel, name: string): boolean {
  return model.initializers.some((tensor) => tensor.name === name)
}

function unsupported(why: string): HearthError {
  return new HearthError('model-unsupported', `this model is not a decoder that we can run: ${why}`)
}

export class PresentGraph implements StepGraph {
  readonly kvShape: KvShape
  readonly vocabularySize: number
  readonly #session: InferenceSession
  readonly #attention: AttentionKind

  private constructor(session: InferenceSession, description: ReturnType<typeof describeDecoder>) {
    this.#session = session
    this.kvShape = description.kvShape
    this.vocabularySize = description.vocabularySize
    this.#attention = description.attention
  }

  /** Throws `model-unsupported`. */
  static async open(path: string, model: OnnxModel, options: { threads: number }): Promise<PresentGraph> {
    const description = describeDecoder(model)
    const halves = model.inputs.find(({ name, type }) => name.startsWith('past_key_val') && type !== FLOAT)
    if (halves !== undefined) throw unsupported('its keys and values are not fp32')
    return new PresentGraph(await openSession({ model: path }, options), description)
  }

  async run(input: StepInput, store: KvStore): Promise<StepOutput> {
    const width = Math.max(...input.rows.map((row) => row.length))
    const pastTokens = tokensOf(input.past, store)
    const outputs = await this.#session.run({
      ...this.#textFeeds(input, width, pastTokens),
      ...this.#pastFeeds(input, store, pastTokens),
    })
    return this.#output(input, outputs, width, pastTokens)
  }

  async close(): Promise<void> {
    await this.#session.release()
  }

  #textFeeds(input: StepInput, width: number, pastTokens: number): Feeds {
    const { rows, pastLengths } = input
    const [ids, positions] = [newIntegers(rows.length * width), newIntegers(rows.length * width)]
    for (const [row, tokens] of rows.entries()) {
      for (const [index, token] of tokens.entries()) {
        ids[row * width + index] = BigInt(token)
        positions[row * width + index] = BigInt((pastLengths[row] ?? 0) + index)
      }
    }
    const mask = this.#mask(input, width, pastTokens)
    const feeds: Feeds = {
      input_ids: new Tensor('int64', ids, [rows.length, width]),
      attention_mask: new Tensor('int64', mask, [rows.length, mask.length / rows.length]),
      position_ids: new Tensor('int64', positions, [rows.length, width]),
      num_logits_to_keep: new Tensor('int64', BigInt64Array.of(BigInt(width)), []),
    }
    const wanted = new Set(this.#session.inputNames)
    return Object.fromEntries(Object.entries(feeds).filter(([name]) => wanted.has(name)))
  }

  /**
   * Grouped-query: ones for as many tokens as the row has; a slot has room for the new one.
   * Plain: ones where the tokens are.
   */
  #mask({ rows, past, pastLengths }: StepInput, width: number, pastTokens: number): BigInt64Array {
    const isGrouped = this.#attention === 'grouped-query'
    const total = isGrouped && past.kind === 'slots' ? pastTokens : pastTokens + width
    const mask = newIntegers(rows.length * total)
    for (const [row, { length }] of rows.entries()) {
      const before = pastLengths[row] ?? 0
      const at = row * total
      if (isGrouped) mask.fill(1n, at, at + before + length)
      else mask.fill(1n, at, at + before).fill(1n, at + pastTokens, at + pastTokens + length)
    }
    return mask
  }

  #pastFeeds({ rows, past }: StepInput, store: KvStore, pastTokens: number): Feeds {
    const { layers, keyValueHeads, headSize } = this.kvShape
    const dims = [rows.length, keyValueHeads, pastTokens, headSize]
    const feeds: Feeds = {}
    for (let layer = 0; layer < layers; layer += 1) {
      for (const part of KV_PARTS) {
        const data = pastData(past, store, layer, part, rows.length)
        feeds[`past_key_values.${layer}.${part}`] = new Tensor('float32', data, dims)
      }
    }
    return feeds
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
    return {
      logits: (row) => {
        const end = row * width + (rows[row]?.length ?? 1)
        return logits.subarray((end - 1) * vocabularySize, end * vocabularySize)
      },
      keyValues: (layer, part): KvRows => {
        const data = floatData(outputs, `present.${layer}.${part}`)
        return { data, tokens: data.length / (rows.length * keyValueHeads * headSize) }
      },
      newFrom: (row) => (isGrouped ? (pastLengths[row] ?? 0) : pastTokens),
    }
  }
}

export function newIntegers(length: number): BigInt64Array<ArrayBuffer> {
  return new BigInt64Array(length)
}

/** Tokens of each row in what is fed as the past. */
export function tokensOf(past: StepPast, store: KvStore): number {
  if (past.kind === 'none') return 0
  return past.kind === 'packed' ? past.count : store.capacity
}

export function pastData(
  past: StepPast,
  store: KvStore,
  layer: number,
  part: KvPart,
  rows: number,
): Float32Array {
  if (past.kind === 'none') return new Float32Array(0)
  if (past.kind === 'packed') return store.copyTokens(layer, part, past.slot, past.count)
  return store.view(layer, part, 0, rows)
}
