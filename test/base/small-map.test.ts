import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SmallMap } from '../../src/base/small-map.ts'

const key = fc.integer({ min: 0, max: 8 })
const changes = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('set' as const), key, value: fc.double({ noNaN: true }) }),
    fc.record({ kind: fc.constant('delete' as const), key }),
  ),
  { maxLength: 60 },
)

test('a small map holds what a map holds, in the same order, whether it has few entries or many', () => {
  fc.assert(
    fc.property(changes, (all) => {
      const small = new SmallMap<number>()
      const map = new Map<number, number>()
      for (const change of all) {
        if (change.kind === 'delete') expect(small.delete(change.key)).toBe(map.delete(change.key))
        else {
          small.set(change.key, change.value)
          map.set(change.key, change.value)
        }
        expect(small.size).toBe(map.size)
        expect(small.keys()).toEqual([...map.keys()])
        expect(small.values()).toEqual([...map.values()])
        expect(small.first).toBe(map.values().next().value)
        expect(small.get(change.key)).toBe(map.get(change.key))
        expect(small.has(change.key)).toBe(map.has(change.key))
      }
    }),
  )
})
