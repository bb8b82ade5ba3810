import '../../../src/inference/device/no-telemetry.ts'
import { Tensor } from 'onnxruntime-node'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { DeltaGraph } from '../../../src/inference/running/delta-graph.ts'
import { DevicePast } from '../../../src/inference/running/device-past.ts'
import type { KvShape } from '../../../src/inference/graph/decoder.ts'
import { KV_PARTS, KvStore } from '../../../src/inference/running/kv-store.ts'
import type { Feeds } from '../../../src/inference/running/onnx-session.ts'
import { describeDecoder } from '../../../src/inference/graph/decoder.ts'
import { readModel } from '../../../src/inference/onnx/onnx-reader.ts'
import { FileSource } from '../../../src/inference/onnx/protobuf.ts'
import { SlotModel } from '../../../src/inference/batching/slot-model.ts'
import { continueGreedily } from '../../../testing/small-models.ts'

const SHAPE: KvShape = { layers: 2, keyValueHeads: 2, headSize: 4 }
const ROWS = 3
const CAPACITY = 6

let past: DevicePast
beforeAll(async () => {
  past = await DevicePast.open(SHAPE, { threads: 1 })
})
afterAll(() => past.close())

function storeOf(): KvStore {
  const store = new KvStore(SHAPE, ROWS)
  store.resize(CAPACITY, 0)
  return store
}

/** The store's rows as a step is fed them from the machine's memory. */
function fromMemory(store: KvStore): Feeds {
  const dims = [ROWS, SHAPE.keyValueHeads, CAPACITY, SHAPE.headSize]
  const names = [0, 1].flatMap((layer) => KV_PARTS.map((part) => [layer, part] as const))
  return Object.fromEntries(
    names.map(([layer, part]) => [
      `past_key_values.${layer}.${part}`,
      new Tensor('float32', store.view(layer, part, 0, ROWS), dims),
    ]),
  )
}

/** One step: row r gets its token at `lengths[r]`, in the store and on the device. */
async function step(store: KvStore, lengths: readonly number[], seed: number): Promise<void> {
  const size = ROWS * SHAPE.keyValueHeads * SHAPE.headSize
  const dims = [ROWS, SHAPE.keyValueHeads, 1, SHAPE.headSize]
  const made = Array.from({ length: 4 }, (_, index) =>
    Float32Array.from({ length: size }, (_, at) => seed + index * 100 + at / 7),
  )
  const tensors = made.map((data) => new Tensor('float32', data, dims))
  const kept = await past.append(store, past.feeds(store, ROWS) ?? fromMemory(store), tensors, lengths)
  const places = lengths.map((to, row) => ({ row, from: 0, slot: row, to, count: 1 }))
  for (const [index, data] of made.entries()) {
    store.write(index >> 1, KV_PARTS[index % 2]!, { data, tokens: 1 }, places)
  }
  kept()
}

const dataOf = (feeds: Feeds | undefined) =>
  Object.entries(feeds ?? {}).map(([name, { data }]) => [name, [...(data as Float32Array)]])

test('the cache on the device equals the store, step after step', async () => {
  const store = storeOf()
  expect(past.feeds(store, ROWS)).toBeUndefined()
  for (let index = 0; index < 3; index += 1) {
    await step(store, [index, index + 1, index + 2], 1_000 * index)
    expect(dataOf(past.feeds(store, ROWS))).toEqual(dataOf(fromMemory(store)))
  }
})

test.each<[string, (store: KvStore) => void]>([
  ['a slot moved', (store) => store.move(2, 0)],
  ['the capacity changed', (store) => store.resize(CAPACITY + 64, ROWS)],
  ['a prompt came in', (store) => store.copyFrom(storeOf(), 0, 1, 2)],
])('when %s, it is sent anew', async (_what, change) => {
  const store = storeOf()
  await step(store, [0, 0, 0], 1)
  expect(past.feeds(store, ROWS)).toBeDefined()
  change(store)
  expect(past.feeds(store, ROWS)).toBeUndefined()
})

test('when another number of rows or another store is asked for, it is sent anew', async () => {
  const store = storeOf()
  await step(store, [0, 0, 0], 1)
  expect(past.feeds(store, ROWS - 1)).toBeUndefined()
  expect(past.feeds(storeOf(), ROWS)).toBeUndefined()
})

test('sequences that run together are decoded from the device in all steps but the first of each capacity', async () => {
  const path = 'models/facts/onnx/model.onnx'
  using source = new FileSource(path)
  const model = readModel(source)
  const decoder = describeDecoder(model, undefined)
  const graph = await DeltaGraph.open(
    { path, model, source, decoder },
    { threads: 1, keepsPastOnDevice: true },
  )
  const { vocabularySize } = graph
  const facts = {
    slots: 4,
    engine: 'ort-delta' as const,
    numericClass: 'test',
    contextLengthMax: 256,
    vocabularySize,
  }
  const slots = new SlotModel(graph, facts, { prefillTokensMax: 128, storeBytesMax: 1e9 })
  const asked = vi.spyOn(DevicePast.prototype, 'feeds')
  await Promise.all([5, 6, 7, 8].map((token) => continueGreedily(slots, [1, token, 7, 9], 100)))
  const steps = asked.mock.results.length
  const sentAnew = asked.mock.results.filter(({ value }) => value === undefined).length
  asked.mockRestore()
  await graph.close()
  // 4 tokens, then 100 more: the capacity is 64, then 128.
  expect({ steps, sentAnew }).toEqual({ steps: 99, sentAnew: 2 })
})
