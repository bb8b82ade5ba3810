import { expect, test } from 'vitest'
import { KvStore } from '../../../src/inference/running/kv-store.ts'
import { PrefixStores } from '../../../src/inference/batching/prefix-stores.ts'

const SHAPE = { layers: 2, keyValueHeads: 3, headSize: 4 }
const TOKEN_BYTES = KvStore.tokenBytes(SHAPE)
const prefix = (id: number, length: number) => ({ id, tokens: Array.from({ length }, () => id) })

test('the least recently used prefixes make room, and all stay under the bound', () => {
  const stores = new PrefixStores(SHAPE, 100 * TOKEN_BYTES)
  const [first, second, third] = [prefix(1, 40), prefix(2, 50), prefix(3, 30)]
  const kept = stores.add(first)
  expect(kept.capacity).toBe(40)
  stores.add(second)
  expect(stores.get(first)).toBe(kept)
  stores.add(third)
  expect(stores.get(second)).toBeUndefined()
  expect(stores.get(first)).toBe(kept)
  expect(stores.bytes).toBe(70 * TOKEN_BYTES)
  stores.add(prefix(4, 100))
  expect(stores.get(first)).toBeUndefined()
  expect(stores.bytes).toBe(100 * TOKEN_BYTES)
})

test('a prefix over the bound is not kept', () => {
  const stores = new PrefixStores(SHAPE, 100 * TOKEN_BYTES)
  expect(stores.canHold(prefix(1, 100))).toBe(true)
  expect(stores.canHold(prefix(1, 101))).toBe(false)
})
