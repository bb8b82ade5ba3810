// Small random models, written where a test can load them, and the engines on them.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FileSource } from '../../src/inference/onnx/protobuf.ts'
import { readModel, type OnnxModel } from '../../src/inference/onnx/onnx-reader.ts'
import { buildLlamaGraph, type LlamaAttention } from '../../src/inference/onnx/llama-graph.ts'
import { randomWeights, type LlamaShape } from '../../src/inference/onnx/llama-weights.ts'
import { writeModel, type OnnxGraph } from '../../src/inference/onnx/onnx-writer.ts'
import { blockGraph, halveGraph, quantizeGraph } from './quantized-graph.ts'
import { temporaryFolder } from './temporary-folder.ts'
import { greatest } from '../../src/inference/sampling.ts'
import type { TokenModel, TokenSequence } from '../../src/inference/token-model.ts'

type WeightForm = 'fp32' | 'fp16' | 'int8' | 'blocks'

const FORMS: Record<WeightForm, (graph: OnnxGraph) => OnnxGraph> = {
  fp32: (graph) => graph,
  fp16: halveGraph,
  int8: quantizeGraph,
  blocks: blockGraph,
}

export interface SmallModel {
  shape: LlamaShape
  seed: number
  attention: LlamaAttention
  externalData?: boolean
  /** What its weights become. */
  weights?: WeightForm
}

/** Writes onnx/model.onnx under a new folder of the system's temporary one; returns its path. */
export function writeSmallModel(model: SmallModel): string {
  const { shape, seed, attention, externalData = false, weights = 'fp32' } = model
  const folder = join(temporaryFolder('model'), 'onnx')
  mkdirSync(folder)
  const path = join(folder, 'model.onnx')
  const graph = buildLlamaGraph(shape, randomWeights(seed), attention)
  writeModel(FORMS[weights](graph), path, { externalData })
  writeFileSync(join(folder, 'shape.json'), JSON.stringify(shape))
  return path
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
