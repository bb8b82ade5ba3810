import '../../../src/inference/device/no-telemetry.ts'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { expect, test } from 'vitest'
import { GreedyModel } from '../../../models/facts/greedy.ts'
import goldens from '../../fixtures/random-llama-goldens.json' with { type: 'json' }
import { buildLlamaGraph, type LlamaAttention } from '../../../src/inference/graph/llama-graph.ts'
import {
  randomWeights,
  safetensorsWeights,
  transpose,
  type LlamaShape,
} from '../../../src/inference/graph/llama-weights.ts'
import { encodeModel, writeModel } from '../../../src/inference/onnx/onnx-writer.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const SHAPE: LlamaShape = {
  layers: 2,
  hidden: 32,
  intermediate: 48,
  heads: 4,
  keyValueHeads: 2,
  headSize: 16,
  vocabulary: 50,
  positionsMax: 64,
  ropeTheta: 10_000,
  normEpsilon: 1e-5,
}

const TOKENS = [3, 14, 15, 9, 2, 6, 5, 35]

const integers = (values: number[]) =>
  new Tensor('int64', BigInt64Array.from(values.map(BigInt)), [1, values.length])

type Tensors = Record<string, Tensor>

function emptyPast(): Tensors {
  const dims = [1, SHAPE.keyValueHeads, 0, SHAPE.headSize]
  const names = Array.from({ length: SHAPE.layers }, (_, layer) =>
    ['key', 'value'].map((part) => `${layer}.${part}`),
  )
  return Object.fromEntries(
    names.flat().map((name) => [`past_key_values.${name}`, new Tensor('float32', new Float32Array(0), dims)]),
  )
}

/** The logits of the last position, after feeding the tokens in parts of the sizes given. */
async function lastLogits(attention: LlamaAttention, parts: number[][]): Promise<Float32Array> {
  const session = await InferenceSession.create(
    encodeModel(buildLlamaGraph(SHAPE, randomWeights(5), attention)),
  )
  let past = emptyPast()
  let length = 0
  let logits = new Float32Array(0)
  for (const part of parts) {
    const positions = part.map((_, index) => length + index)
    length += part.length
    const mask = integers(Array.from({ length }, () => 1))
    const extra = attention === 'plain' ? { position_ids: integers(positions) } : {}
    const outputs = await session.run({ ...past, ...extra, input_ids: integers(part), attention_mask: mask })
    logits = Float32Array.from(outputs['logits']!.data as Float32Array).slice(-SHAPE.vocabulary)
    past = Object.fromEntries(
      Object.keys(past).map((name) => [name, outputs[name.replace('past_key_values', 'present')]!]),
    )
  }
  await session.release()
  return logits
}

function greatestDifference(left: Float32Array, right: Float32Array): number {
  expect(left.length).toBe(right.length)
  return left.reduce((most, value, index) => Math.max(most, Math.abs(value - right[index]!)), 0)
}

const CHUNKS = [TOKENS.slice(0, 3), TOKENS.slice(3, 4), TOKENS.slice(4)]

test('grouped-query and plain attention agree on the same weights', async () => {
  const fused = await lastLogits('grouped-query', [TOKENS])
  expect(greatestDifference(fused, await lastLogits('plain', [TOKENS]))).toBeLessThan(1e-4)
  expect(Math.max(...fused) - Math.min(...fused)).toBeGreaterThan(1)
})

test.each(['grouped-query', 'plain'] as const)(
  '%s: a prompt in parts gives the logits of the whole',
  async (attention) => {
    const whole = await lastLogits(attention, [TOKENS])
    expect(greatestDifference(whole, await lastLogits(attention, CHUNKS))).toBeLessThan(1e-4)
  },
)

test.each(goldens)(
  'a random $name model says what transformers.js says',
  async ({ shape, seed, attention, cases }) => {
    const folder = temporaryFolder('llama-graph')
    const path = join(folder, 'model.onnx')
    writeModel(buildLlamaGraph(shape, randomWeights(seed), attention as LlamaAttention), path)
    const model = await GreedyModel.open(path)
    for (const { promptTokenIds, outputTokenIds } of cases) {
      const tokensMax = outputTokenIds.length
      const reply = await model.generate(promptTokenIds, { eosTokenId: undefined, tokensMax })
      expect(reply.tokenIds).toEqual(outputTokenIds)
    }
    await model.close()
    rmSync(folder, { recursive: true })
  },
)

test('one seed gives one model, another seed another', () => {
  const encode = (seed: number) =>
    Buffer.from(encodeModel(buildLlamaGraph(SHAPE, randomWeights(seed), 'grouped-query')))
  expect(encode(5).equals(encode(5))).toBe(true)
  expect(encode(5).equals(encode(6))).toBe(false)
})

test('random weights do not depend on the order of asking', () => {
  const source = randomWeights(1)
  source('other', [4, 4])
  expect(source('a', [4, 4])).toEqual(randomWeights(1)('a', [4, 4]))
})

test('shapes that no attention can have are refused', () => {
  expect(() => buildLlamaGraph({ ...SHAPE, keyValueHeads: 3 }, randomWeights(1), 'plain')).toThrow(RangeError)
  expect(() => buildLlamaGraph({ ...SHAPE, headSize: 15 }, randomWeights(1), 'plain')).toThrow(RangeError)
})

test('transposing turns rows into columns', () => {
  expect([...transpose(Float32Array.of(1, 2, 3, 4, 5, 6), 2, 3)]).toEqual([1, 4, 2, 5, 3, 6])
})

test('safetensors weights are found by name and checked by shape', () => {
  const header = Buffer.from(JSON.stringify({ w: { dtype: 'F32', shape: [1, 2], data_offsets: [4, 12] } }))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  const source = safetensorsWeights(
    Buffer.concat([length, header, Buffer.from(Float32Array.of(9, 1.5, -2).buffer)]),
  )
  expect([...source('w', [1, 2])]).toEqual([1.5, -2])
  expect(() => source('w', [2, 1])).toThrow('w')
  expect(() => source('v', [1, 2])).toThrow('v')
})
