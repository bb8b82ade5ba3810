// Models in the layouts that exporters write, with random weights: the files' names, the forms of their
// weights, and the answers, held against onnxruntime's own run of the untouched export.
import { dirname } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { randomInteger, seededRandom } from '../../../src/base/random.ts'
import { findModelFile } from '../../../src/inference/contract/model-file.ts'
import { DeltaGraph } from '../../../src/inference/running/delta-graph.ts'
import { describeDecoder } from '../../../src/inference/graph/decoder.ts'
import { readModel } from '../../../src/inference/onnx/onnx-reader.ts'
import { checkModelSafety } from '../../../src/inference/onnx/model-safety.ts'
import { FileSource } from '../../../src/inference/onnx/protobuf.ts'
import { SlotModel } from '../../../src/inference/batching/slot-model.ts'
import { checkWeightFiles } from '../../../src/inference/onnx/weight-files.ts'
import {
  continueGreedily,
  writeSmallModel,
  type Greedy,
  type SmallModel,
} from '../../../testing/small-models.ts'
import { continueByStockLoop } from '../../../testing/stock-loop.ts'

const SHAPE = {
  layers: 3,
  hidden: 64,
  intermediate: 160,
  heads: 4,
  keyValueHeads: 2,
  headSize: 16,
  vocabulary: 256,
  positionsMax: 256,
  ropeTheta: 10_000,
  normEpsilon: 1e-5,
}
const TOKENS = 12

interface Layout extends Omit<SmallModel, 'shape' | 'seed'> {
  name: string
  dtype: string
  file: string
  /**
   * A token is compared where it leads by more than this: what the form's arithmetic may differ by. Ours is
   * wider than a stock fp16 export's, and has a scale for each position where a stock 8-bit one has one for all.
   */
  lead: number
}

const LAYOUTS: readonly Layout[] = [
  {
    name: 'fp32 in three files',
    dtype: 'fp32',
    file: 'model.onnx',
    attention: 'grouped-query',
    shards: 3,
    lead: 1e-4,
  },
  {
    name: 'fp32, plain attention',
    dtype: 'fp32',
    file: 'model.onnx',
    attention: 'plain',
    shards: 2,
    lead: 1e-4,
  },
  {
    name: 'fp16',
    dtype: 'fp16',
    file: 'model_fp16.onnx',
    attention: 'grouped-query',
    weights: 'fp16',
    externalData: true,
    lead: 0.02,
  },
  {
    name: 'fp16 in two files',
    dtype: 'fp16',
    file: 'model_fp16.onnx',
    attention: 'grouped-query',
    weights: 'fp16',
    shards: 2,
    lead: 0.02,
  },
  { name: 'q4', dtype: 'q4', file: 'model_q4.onnx', attention: 'grouped-query', weights: 'q4', lead: 1e-4 },
  {
    name: 'q4, plain attention',
    dtype: 'q4',
    file: 'model_q4.onnx',
    attention: 'plain',
    weights: 'q4',
    externalData: true,
    lead: 1e-4,
  },
  {
    name: 'q4f16',
    dtype: 'q4f16',
    file: 'model_q4f16.onnx',
    attention: 'grouped-query',
    weights: 'q4f16',
    lead: 0.02,
  },
  {
    name: 'quantized',
    dtype: 'q8',
    file: 'model_quantized.onnx',
    attention: 'grouped-query',
    weights: 'int8',
    lead: 0.1,
  },
  {
    name: 'quantized, plain attention',
    dtype: 'q8',
    file: 'model_quantized.onnx',
    attention: 'plain',
    weights: 'int8',
    lead: 0.1,
  },
]

const random = seededRandom(5)
const PROMPTS = [1, 2, 3, 7, 12, 33, 60].map((length) =>
  Array.from({ length }, () => randomInteger(random, SHAPE.vocabulary)),
)

describe.each(LAYOUTS)('$name', ({ dtype, lead, ...layout }) => {
  let path: string
  let graph: DeltaGraph
  beforeAll(async () => {
    const written = writeSmallModel({ ...layout, shape: SHAPE, seed: 21 })
    const found = await findModelFile(dirname(dirname(written)), undefined)
    expect(found).toEqual({ path: written, dtype })
    path = found.path
    using source = new FileSource(path)
    const model = readModel(source)
    checkModelSafety(model, source)
    await checkWeightFiles(model, dirname(path))
    const decoder = describeDecoder(model, undefined)
    graph = await DeltaGraph.open({ path, model, source, decoder }, { threads: 1 })
  })
  afterAll(() => graph.close())

  const runAll = async (slots: number): Promise<Greedy[]> => {
    const facts = {
      slots,
      engine: 'ort-delta',
      numericClass: 'test',
      contextLengthMax: 256,
      vocabularySize: SHAPE.vocabulary,
    } as const
    const model = new SlotModel(graph, facts, { prefillTokensMax: 64, storeBytesMax: 1e9 })
    return await Promise.all(PROMPTS.map((prompt) => continueGreedily(model, prompt, TOKENS)))
  }

  test('alone, it gives the tokens of the untouched export', async () => {
    let compared = 0
    for (const [index, { tokens }] of (await runAll(1)).entries()) {
      const stock = await continueByStockLoop(path, SHAPE, PROMPTS[index] ?? [], TOKENS)
      const close = stock.findIndex((one) => one.lead <= lead)
      const length = close < 0 ? TOKENS : close
      expect(tokens.slice(0, length)).toEqual(stock.slice(0, length).map(({ token }) => token))
      compared += length
    }
    expect(compared).toBeGreaterThan((PROMPTS.length * TOKENS) / 8)
  })

  test('every bit of every logit is the same beside others', async () => {
    const alone = await runAll(1)
    for (const slots of [2, 5, 8]) expect(await runAll(slots)).toEqual(alone)
  })
})
