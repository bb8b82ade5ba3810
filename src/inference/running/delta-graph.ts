// Runs the delta form of a model (onnx/delta-rewrite.ts).
import '../device/no-telemetry.ts'
import { basename, dirname } from 'node:path'
import { Tensor, type InferenceSession } from 'onnxruntime-node'
import { DevicePast } from './device-past.ts'
import type { KvShape } from '../graph/decoder.ts'
import type { KvPart, KvRows } from './kv-store.ts'
import { floatData, openSession, type Feeds, type SessionOptions } from './onnx-session.ts'
import type { AttentionKind, Decoder } from '../graph/decoder.ts'
import { DELTA_INPUTS } from '../graph/delta-attention.ts'
import {
  BEST_OUTPUT,
  rewriteToDelta,
  SUM_OUTPUT,
  TOP_OUTPUT,
  type DeltaModel,
} from '../graph/delta-rewrite.ts'
import type { ModelNode, OnnxModel } from '../onnx/onnx-reader.ts'
import type { ByteSource } from '../onnx/protobuf.ts'
import { integers, maskOf, pastFeeds, pastTokensOf, tokenFeeds, widthOf } from './step-feeds.ts'
import { areNumbers, type StepGraph, type StepInput, type StepOutput } from './step-graph.ts'

export interface DeltaSource {
  path: string
  model: OnnxModel
  source: ByteSource
  decoder: Decoder
}

export class DeltaGraph implements StepGraph {
  readonly kvShape: KvShape
  readonly vocabularySize: number
  readonly sharesPrefixes = true
  readonly #session: InferenceSession
  readonly #delta: Omit<DeltaModel, 'bytes'>
  readonly #attention: AttentionKind
  /** Only outputs that are asked for are copied out of onnxruntime. */
  readonly #withLogits: readonly string[]
  readonly #withoutLogits: readonly string[]
  /** Rows of a step, at least: so that a sequence alone gets the bits that it gets among others. */
  readonly #rowsMin: number
  /** The past on the device, where it is kept there. */
  readonly #devicePast: DevicePast | undefined

  private constructor(
    session: InferenceSession,
    delta: DeltaModel,
    decoder: Decoder,
    { rowsMin, devicePast }: { rowsMin: number; devicePast: DevicePast | undefined },
  ) {
    this.#rowsMin = rowsMin
    this.#devicePast = devicePast
    this.#session = session
    const { bytes: _bytes, ...named } = delta
    this.#delta = named
    this.#withoutLogits = [BEST_OUTPUT, TOP_OUTPUT, SUM_OUTPUT, ...delta.newKeys, ...delta.newValues]
    this.#withLogits = [delta.logits, ...this.#withoutLogits]
    this.#attention = decoder.attention
    this.kvShape = decoder.kvShape
    this.vocabularySize = decoder.vocabularySize
  }

  /** Throws `model-unsupported` when the model has no delta form. */
  static async open(
    { path, model, source, decoder }: DeltaSource,
    { keepsPastOnDevice = false, ...options }: SessionOptions & { keepsPastOnDevice?: boolean },
  ): Promise<DeltaGraph> {
    const delta = rewriteToDelta(model, decoder, source, basename(path))
    const session = await openSession(
      { model: delta.bytes, weightsFolder: dirname(path) },
      { ...options, skipsOptimizing: options.skipsPrepacking === true && !model.nodes.some(isByteProduct) },
    )
    const rowsMin = sumsSingleRowsApart(model, options) ? 2 : 1
    const devicePast = keepsPastOnDevice ? await DevicePast.open(decoder.kvShape, options) : undefined
    return new DeltaGraph(session, delta, decoder, { rowsMin, devicePast })
  }

  async run(input: StepInput): Promise<StepOutput> {
    const fetches = input.wantsLogits ? this.#withLogits : this.#withoutLogits
    const padded = addRows(input, this.#rowsMin)
    const feeds = this.#feeds(padded)
    const outputs = await this.#session.run(feeds, fetches)
    const kept = await this.#keepOnDevice(padded, feeds, outputs)
    const best = outputs[BEST_OUTPUT]?.data as BigInt64Array
    const logits = input.wantsLogits ? floatData(outputs, this.#delta.logits) : new Float32Array(0)
    const [tops, sums] = [floatData(outputs, TOP_OUTPUT), floatData(outputs, SUM_OUTPUT)]
    const { vocabularySize } = this
    const width = paddedWidth(input)
    return {
      best: (row) => Number(best[row]),
      hasNumbers: (row) => areNumbers({ top: tops[row] as number, sum: sums[row] as number }),
      logits: (row) => logits.subarray(row * vocabularySize, (row + 1) * vocabularySize),
      keyValues: (layer, part): KvRows => ({
        data: floatData(outputs, this.#nameOf(layer, part)),
        tokens: width,
      }),
      newFrom: () => 0,
      kept,
    }
  }

  async close(): Promise<void> {
    await this.#devicePast?.close()
    await this.#session.release()
  }

  async #keepOnDevice(
    { past, pastLengths }: StepInput,
    feeds: Feeds,
    outputs: InferenceSession.ReturnType,
  ): Promise<(() => void) | undefined> {
    if (past.kind !== 'slots' || this.#devicePast === undefined) return undefined
    const { newKeys, newValues } = this.#delta
    const made = newKeys.flatMap((key, layer) => [outputs[key], outputs[newValues[layer] ?? '']])
    return await this.#devicePast.append(past.store, feeds, made as Tensor[], pastLengths)
  }

  #nameOf(layer: number, part: KvPart): string {
    const names = part === 'key' ? this.#delta.newKeys : this.#delta.newValues
    return names[layer] ?? ''
  }

  #feeds(input: StepInput): Feeds {
    const { rows, past, pastLengths } = input
    const width = paddedWidth(input)
    const feeds: Feeds = {
      ...tokenFeeds(input, width),
      [DELTA_INPUTS.pastLengths]: integers(pastLengths, [rows.length, 1]),
      [DELTA_INPUTS.lastPositions]: integers(
        rows.map((row) => row.length - 1),
        [rows.length, 1, 1],
      ),
      [DELTA_INPUTS.isDecode]: new Tensor('bool', [past.kind === 'slots'], []),
    }
    if (this.#attention === 'plain') {
      feeds['attention_mask'] = maskOf(input, pastTokensOf(past) + width, pastTokensOf(past))
    }
    const wanted = Object.entries(feeds).filter(([name]) => this.#delta.inputs.has(name))
    const pastRows = past.kind === 'packed' && this.#attention === 'grouped-query' ? 1 : rows.length
    const onDevice = past.kind === 'slots' ? this.#devicePast?.feeds(past.store, pastRows) : undefined
    return { ...Object.fromEntries(wanted), ...(onDevice ?? pastFeeds(past, this.kvShape, pastRows)) }
  }
}

/** Operators that only onnxruntime's optimizer makes exact on every processor: see onnx-session.ts. */
function isByteProduct({ operator }: ModelNode): boolean {
  return /Integer|uantize|^Q/.test(operator)
}

/** Accuracy level of MatMulNBits with which one row is computed as several are: in 8 bits. */
const ACCURACY_INT8 = 4

/** Whether matrix kernels sum a single row in another order than several. */
function sumsSingleRowsApart({ nodes }: OnnxModel, { skipsPrepacking = false }: SessionOptions): boolean {
  const isApart = ({ operator, attributes }: ModelNode): boolean =>
    operator === 'MatMulNBits' && attributes.get('accuracy_level')?.integer !== ACCURACY_INT8
  return skipsPrepacking || nodes.some(isApart)
}

/** Matrix kernels sum one row in another order than several: a prefill has two at least, so that bits agree. */
function paddedWidth(input: StepInput): number {
  return input.past.kind === 'slots' ? 1 : Math.max(2, widthOf(input))
}

function addRows(input: StepInput, rowsMin: number): StepInput {
  if (input.rows.length >= rowsMin) return input
  return { ...input, rows: [...input.rows, [0]], pastLengths: [...input.pastLengths, 0] }
}
