import { expect, test } from 'vitest'
import type { KvShape } from '../../../src/inference/graph/decoder.ts'
import { KV_PARTS, KvStore } from '../../../src/inference/running/kv-store.ts'

const SHAPE: KvShape = { layers: 2, keyValueHeads: 3, headSize: 4 }
const SLOTS = 5
const TOKENS = 60

/** Another number for each element of a slot's tokens. */
function fill(store: KvStore): void {
  const { layers, keyValueHeads, headSize } = SHAPE
  for (let layer = 0; layer < layers; layer += 1) {
    for (const [part, name] of KV_PARTS.entries()) {
      for (let slot = 0; slot < SLOTS; slot += 1) {
        const data = Float32Array.from(
          { length: keyValueHeads * TOKENS * headSize },
          (_, index) => ((layer * 2 + part) * SLOTS + slot) * 10_000 + index,
        )
        store.write(layer, name, { data, tokens: TOKENS }, [{ row: 0, from: 0, slot, to: 0, count: TOKENS }])
      }
    }
  }
}

function contentOf(store: KvStore): number[][] {
  return Array.from({ length: SHAPE.layers }, (_, layer) => layer).flatMap((layer) =>
    KV_PARTS.flatMap((part) =>
      Array.from({ length: SLOTS }, (_, slot) => [...store.copyTokens(layer, part, slot, TOKENS)]),
    ),
  )
}

test('every token keeps its place while capacities grow and shrink, in the reserve and beyond it', () => {
  const store = new KvStore(SHAPE, SLOTS)
  store.resize(64, SLOTS)
  fill(store)
  const before = contentOf(store)
  for (const capacity of [128, 64, 192, 320, 256, 64, 1_024, 128, 64]) {
    store.resize(capacity, SLOTS)
    expect(store.capacity).toBe(capacity)
    expect(store.view(0, 'key', 0, SLOTS).length).toBe(
      SLOTS * SHAPE.keyValueHeads * capacity * SHAPE.headSize,
    )
    expect(contentOf(store)).toEqual(before)
  }
})

test('a store that is far larger than what is wanted gives its memory back', () => {
  const store = new KvStore(SHAPE, SLOTS)
  const reserved = (): number => store.view(0, 'key', 0, 1).buffer.byteLength
  store.resize(64, 0)
  const small = reserved()
  store.resize(1_024, 0)
  expect(reserved()).toBeGreaterThan(8 * small)
  store.resize(64, 0)
  expect(reserved()).toBe(small)
})
