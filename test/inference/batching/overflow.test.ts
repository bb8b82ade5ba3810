import { expect, test } from 'vitest'
import { describeDecoder } from '../../../src/inference/graph/decoder.ts'
import { buildLlamaGraph } from '../../../src/inference/graph/llama-graph.ts'
import { randomWeights, type WeightSource } from '../../../src/inference/graph/llama-weights.ts'
import { FileSource } from '../../../src/inference/onnx/protobuf.ts'
import { readModel } from '../../../src/inference/onnx/onnx-reader.ts'
import { writeModel } from '../../../src/inference/onnx/onnx-writer.ts'
import { DeltaGraph } from '../../../src/inference/running/delta-graph.ts'
import { PresentGraph } from '../../../src/inference/running/present-graph.ts'
import type { StepGraph } from '../../../src/inference/running/step-graph.ts'
import { areNumbers } from '../../../src/inference/running/step-graph.ts'
import { SlotModel } from '../../../src/inference/batching/slot-model.ts'
import goldens from '../../fixtures/random-llama-goldens.json' with { type: 'json' }
import { halveGraph } from '../../../testing/quantized-graph.ts'
import { continueGreedily } from '../../../testing/small-models.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const [golden] = goldens
if (golden === undefined) throw new Error('no goldens')
const { shape } = golden
const BAD = 7
const GOOD = [1, 2, 3, 4]

/**
 * Weights with which the token BAD alone overflows at `place`: its embedding has a large first element, which
 * that place multiplies by a huge weight.
 */
function overflowing(place: string, huge: number): WeightSource {
  const random = randomWeights(3)
  return (name, dims) => {
    const weights = random(name, dims)
    const [, inputs = 0] = dims
    if (name.includes('embed_tokens')) {
      for (let token = 0; token < shape.vocabulary; token += 1)
        weights[token * inputs] = token === BAD ? 50 : 0
    }
    if (name === place && dims.length === 2) {
      for (let at = 0; at < weights.length; at += inputs) weights[at] = huge
    }
    if (name === place && dims.length === 1) weights[0] = huge
    return weights
  }
}

async function open(engine: 'ort-delta' | 'ort-present', place: string, isHalf: boolean): Promise<StepGraph> {
  const graph = buildLlamaGraph(shape, overflowing(place, isHalf ? 6e4 : 3e38), 'grouped-query')
  const path = `${temporaryFolder('overflow')}/model.onnx`
  writeModel(isHalf ? halveGraph(graph) : graph, path)
  using source = new FileSource(path)
  const model = readModel(source)
  const decoder = describeDecoder(model, undefined)
  if (engine === 'ort-present') return await PresentGraph.open(path, decoder, { threads: 1 })
  return await DeltaGraph.open({ path, model, source, decoder }, { threads: 1 })
}

const LAST = shape.layers - 1
const PLACES = [
  'model.layers.0.mlp.up_proj.weight',
  `model.layers.${LAST}.mlp.up_proj.weight`,
  'model.norm.weight',
  'lm_head.weight',
]

test.each([
  ...PLACES.map((place) => ['ort-delta', 'fp32', place] as const),
  // onnxruntime computes the head of fp16 in fp32: it does not overflow there.
  ...PLACES.slice(0, 3).map((place) => ['ort-delta', 'fp16', place] as const),
  ...PLACES.map((place) => ['ort-present', 'fp32', place] as const),
])(
  '%s, %s: an overflow in %s is refused, and a sound batch mate is answered',
  async (engine, dtype, place) => {
    const graph = await open(engine, place, dtype === 'fp16')
    const facts = {
      slots: 2,
      engine,
      numericClass: 'test',
      contextLengthMax: 64,
      vocabularySize: shape.vocabulary,
    }
    for (const isGreedy of [true, false]) {
      const model = new SlotModel(graph, facts, { prefillTokensMax: 64, storeBytesMax: 1e9 })
      const bad = [...GOOD.slice(1), BAD]
      const [refused, mate] = await Promise.allSettled([
        continueGreedily(model, bad, 3, { isGreedy }),
        continueGreedily(model, GOOD, 1, { isGreedy }),
      ])
      expect(refused).toMatchObject({ status: 'rejected', reason: { code: 'request-invalid' } })
      // In fp32 the MLP's weight is so large that every token overflows.
      const overflowsAlone = dtype === 'fp16' || !place.includes('mlp')
      expect(mate?.status).toBe(overflowsAlone ? 'fulfilled' : 'rejected')
    }
    await graph.close()
  },
)

test.each([
  [{ top: 3, sum: -Infinity }, true],
  [{ top: -4, sum: -90 }, true],
  [{ top: 0, sum: -1 }, true],
  [{ top: 0, sum: 0 }, false],
  [{ top: -Infinity, sum: -Infinity }, false],
  [{ top: Infinity, sum: Infinity }, false],
  [{ top: 5, sum: Number.NaN }, false],
  [{ top: Number.NaN, sum: Number.NaN }, false],
])('logits of %o are numbers to choose from: %s', (logits, expected) => {
  expect(areNumbers(logits)).toBe(expected)
})
