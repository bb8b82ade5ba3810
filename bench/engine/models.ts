// The models of the engine's benches: random weights in usual shapes, written once for each run.
import { join } from 'node:path'
import { defaultThreads } from '../../src/inference/host/engine-host-options.ts'
import { DeltaGraph } from '../../src/inference/running/delta-graph.ts'
import type { SessionOptions } from '../../src/inference/running/onnx-session.ts'
import { describeDecoder } from '../../src/inference/graph/decoder.ts'
import { buildLlamaGraph, type LlamaAttention } from '../../src/inference/graph/llama-graph.ts'
import { randomWeights, type LlamaShape } from '../../src/inference/graph/llama-weights.ts'
import { readModel } from '../../src/inference/onnx/onnx-reader.ts'
import { writeModel } from '../../src/inference/onnx/onnx-writer.ts'
import { FileSource } from '../../src/inference/onnx/protobuf.ts'
import { quantizeGraph } from '../../testing/quantized-graph.ts'

/** The settings of every measurement: the defaults of an engine host. */
export const THREADS: number = defaultThreads()

const COMMON = { headSize: 64, positionsMax: 2_048, ropeTheta: 10_000, normEpsilon: 1e-5 }

/** Stands for all of them in a quick run. */
const TINY: LlamaShape = {
  ...COMMON,
  layers: 2,
  hidden: 128,
  intermediate: 256,
  heads: 2,
  keyValueHeads: 2,
  vocabulary: 512,
}

export type Size = '3 M' | '31 M' | '163 M'

const SHAPES: Readonly<Record<Size, LlamaShape>> = {
  '3 M': {
    ...COMMON,
    layers: 4,
    hidden: 192,
    intermediate: 512,
    heads: 3,
    keyValueHeads: 3,
    vocabulary: 4_096,
  },
  '31 M': {
    ...COMMON,
    layers: 10,
    hidden: 448,
    intermediate: 1_216,
    heads: 7,
    keyValueHeads: 7,
    vocabulary: 8_192,
  },
  /** SmolLM2-135M's with an untied head: 652 MB. */
  '163 M': {
    ...COMMON,
    layers: 30,
    hidden: 576,
    intermediate: 1_536,
    heads: 9,
    keyValueHeads: 3,
    vocabulary: 49_152,
  },
}

/** A model in a file, and what it is. */
export interface BenchModel {
  path: string
  shape: LlamaShape
}

export class BenchModels {
  readonly #folder: string
  readonly #isQuick: boolean
  readonly #models = new Map<string, BenchModel>()

  constructor(folder: string, isQuick: boolean) {
    this.#folder = folder
    this.#isQuick = isQuick
  }

  shapeOf(size: Size): LlamaShape {
    return this.#isQuick ? TINY : SHAPES[size]
  }

  /** Written on first use. */
  get(
    size: Size,
    attention: LlamaAttention = 'grouped-query',
    weights: 'fp32' | 'int8' = 'fp32',
    layout: 'weights beside' | 'one file' = 'weights beside',
  ): BenchModel {
    const name = `${size}-${attention}-${weights}-${layout}`.replaceAll(' ', '')
    const found = this.#models.get(name)
    if (found !== undefined) return found
    const shape = this.shapeOf(size)
    const path = join(this.#folder, `${name}.onnx`)
    const graph = buildLlamaGraph(shape, randomWeights(1), attention)
    writeModel(weights === 'int8' ? quantizeGraph(graph) : graph, path, {
      externalData: layout === 'weights beside',
    })
    const model = { path, shape }
    this.#models.set(name, model)
    return model
  }
}

export async function openDelta(path: string, options: Partial<SessionOptions> = {}): Promise<DeltaGraph> {
  using source = new FileSource(path)
  const model = readModel(source)
  const decoder = describeDecoder(model, undefined)
  return await DeltaGraph.open({ path, model, source, decoder }, { threads: THREADS, ...options })
}
