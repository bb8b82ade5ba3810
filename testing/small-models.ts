// Small random models, written where a test can load them, and the engines on them.
import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { FileSource } from '../src/inference/onnx/protobuf.ts'
import { readModel, type OnnxModel } from '../src/inference/onnx/onnx-reader.ts'
import { buildLlamaGraph, type LlamaAttention } from '../src/inference/graph/llama-graph.ts'
import { randomWeights, type LlamaShape } from '../src/inference/graph/llama-weights.ts'
import { ELEMENT_TYPES, writeModel, type OnnxGraph } from '../src/inference/onnx/onnx-writer.ts'
import { blockGraph, halveGraph, quantizeGraph } from './quantized-graph.ts'
import { temporaryFolder } from './temporary-folder.ts'
import { greatest } from '../src/inference/sampling/sampling.ts'
import type { TokenModel, TokenSequence } from '../src/inference/contract/token-model.ts'

export type WeightForm = 'fp32' | 'fp16' | 'int8' | 'blocks' | 'q4' | 'q4f16'

const FORMS: Record<WeightForm, (graph: OnnxGraph) => OnnxGraph> = {
  fp32: (graph) => graph,
  fp16: halveGraph,
  int8: quantizeGraph,
  blocks: (graph) => blockGraph(graph, 8),
  q4: (graph) => blockGraph(graph, 4),
  q4f16: (graph) => halveGraph(blockGraph(graph, 4)),
}

export interface SmallModel {
  shape: LlamaShape
  seed: number
  attention: LlamaAttention
  externalData?: boolean
  /** The form of its weights. */
  weights?: WeightForm
  /** Its file's name; default 'model.onnx'. */
  file?: string
  /** Over how many files its weights are spread: NAME_data, NAME_data_1, … Default: none of their own. */
  shards?: number
}

/** Writes onnx/model.onnx under a new folder of the system's temporary one; returns its path. */
export function writeSmallModel(model: SmallModel): string {
  const { shape, seed, attention, externalData = false, weights = 'fp32', file = 'model.onnx' } = model
  const folder = join(temporaryFolder('model'), 'onnx')
  mkdirSync(folder)
  const path = join(folder, file)
  const graph = FORMS[weights](buildLlamaGraph(shape, randomWeights(seed), attention))
  writeModel(model.shards === undefined ? graph : shardWeights(graph, path, model.shards), path, {
    externalData,
  })
  writeFileSync(join(folder, 'shape.json'), JSON.stringify(shape))
  return path
}

/** Writes the larger weights to several files in turn; returns the graph that finds them there. */
function shardWeights(graph: OnnxGraph, path: string, shards: number): OnnxGraph {
  const parts = Array.from({ length: shards }, (): Uint8Array[] => [])
  const initializers = graph.initializers.map((tensor, index) => {
    if (!('data' in tensor) || tensor.data.byteLength < 1_024) return tensor
    const shard = index % shards
    const location = `${basename(path)}_data${shard === 0 ? '' : `_${shard}`}`
    const offset = parts[shard]?.reduce((sum, { byteLength }) => sum + byteLength, 0) ?? 0
    parts[shard]?.push(tensor.data.read())
    const { name, type, dims, data } = tensor
    const place = { location, offset }
    return { name, typeNumber: ELEMENT_TYPES[type], dims, place, byteLength: data.byteLength }
  })
  for (const [shard, bytes] of parts.entries()) {
    writeFileSync(`${path}_data${shard === 0 ? '' : `_${shard}`}`, Buffer.concat(bytes))
  }
  return { ...graph, initializers }
}

export function readModelFile(path: string): OnnxModel {
  using source = new FileSource(path)
  return readModel(source)
}

export interface Greedy {
  tokens: number[]
  /** The logits of every step. */
  logits: Float32Array[]
}

/** The likeliest continuation of `tokensMax` tokens; without logits when `isGreedy`. */
export async function continueGreedily(
  model: TokenModel,
  promptTokens: readonly number[],
  tokensMax: number,
  options: { signal?: AbortSignal; isGreedy?: boolean } = {},
): Promise<Greedy> {
  const result: Greedy = { tokens: [], logits: [] }
  const sequence: TokenSequence = {
    promptTokens,
    tokensMax,
    isGreedy: options.isGreedy ?? false,
    take(token) {
      result.tokens.push(token)
      return result.tokens.length < tokensMax ? token : undefined
    },
    next(logits) {
      result.logits.push(logits.slice())
      return sequence.take(greatest(logits))
    },
  }
  await model.run(sequence, options.signal)
  return result
}
