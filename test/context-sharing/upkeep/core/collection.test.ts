import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Holding, planCollection } from '../../../../src/context-sharing/upkeep/core/collection.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const NOW_MS = 100 * DAY_MS
const MIB = 1024 * 1024

const holding = (contextId: string, change: Partial<Holding> = {}): Holding => ({
  contextId,
  isWhole: true,
  files: [{ key: contextId, bytes: 100 * MIB }],
  isPinned: false,
  use: undefined,
  usedAtMs: NOW_MS - HOUR_MS,
  replicas: 3,
  ...change,
})
const order = (...holdings: Holding[]): string[] =>
  planCollection(holdings, NOW_MS).candidates.map(({ contextId }) => contextId)

describe('what goes first', () => {
  it.each<[string, Holding, Holding]>([
    ['what was used longer ago', holding('a', { usedAtMs: NOW_MS - 9 * DAY_MS }), holding('b')],
    ['what more peers have', holding('a', { replicas: 3 }), holding('b', { replicas: 1 })],
    [
      'what gives back more, since looking for holders costs each the same',
      holding('a', { files: [{ key: 'a', bytes: 1000 * MIB }] }),
      holding('b', { files: [{ key: 'b', bytes: 10 * MIB }] }),
    ],
    [
      'a part that nobody went on with for a day, however dear it would be',
      holding('a', { isWhole: false, usedAtMs: NOW_MS - 2 * DAY_MS, replicas: 0 }),
      holding('b', { usedAtMs: NOW_MS - 50 * DAY_MS }),
    ],
    [
      'what stands alone before what shares its bytes with another',
      holding('a'),
      holding('b', {
        files: [
          { key: 'shared', bytes: 90 * MIB },
          { key: 'b', bytes: 10 * MIB },
        ],
      }),
    ],
  ])('%s', (_what, first, second) => {
    const sharing = holding('c', { isPinned: true, files: [{ key: 'shared', bytes: 90 * MIB }] })
    expect(order(first, second, sharing)).toEqual(['a', 'b'])
    expect(order(sharing, second, first)).toEqual(['a', 'b'])
  })

  it('never what is pinned or in use, and says why', () => {
    const { candidates, kept } = planCollection(
      [holding('a', { isPinned: true }), holding('b', { use: 'an engine has it loaded' }), holding('c')],
      NOW_MS,
    )
    expect(candidates.map(({ contextId }) => contextId)).toEqual(['c'])
    expect(kept).toEqual([
      { contextId: 'a', words: 'it is pinned' },
      { contextId: 'b', words: 'an engine has it loaded' },
    ])
  })
})

const files = fc.uniqueArray(
  fc.record({ key: fc.constantFrom('w', 'x', 'y', 'z'), bytes: fc.integer({ min: 1, max: 1000 }) }),
  { minLength: 1, selector: ({ key }) => key },
)
const holdings = fc
  .array(
    fc.record({
      isWhole: fc.boolean(),
      isPinned: fc.boolean(),
      use: fc.constantFrom(undefined, undefined, 'it is downloading'),
      usedAtMs: fc.integer({ min: 0, max: NOW_MS }),
      replicas: fc.integer({ min: 0, max: 5 }),
      keys: files,
    }),
    { maxLength: 12 },
  )
  .map((all) => all.map(({ keys, ...rest }, index) => ({ contextId: `c${index}`, files: keys, ...rest })))

it('in any store, the bytes said to come back are those that do, and every context is in one list', () => {
  fc.assert(
    fc.property(holdings, (all) => {
      // The same file has the same bytes in every context.
      for (const each of all) each.files = each.files.map(({ key }) => ({ key, bytes: key.codePointAt(0)! }))
      const { candidates, kept } = planCollection(all, NOW_MS)
      expect([...candidates, ...kept].map(({ contextId }) => contextId).sort()).toEqual(
        all.map(({ contextId }) => contextId).sort(),
      )
      let left = all
      const usedBytes = (some: readonly Holding[]): number =>
        [
          ...new Map(
            some.flatMap((each) => each.files.map(({ key, bytes }) => [key, bytes] as const)),
          ).values(),
        ].reduce((sum, bytes) => sum + bytes, 0)
      for (const { contextId, bytes } of candidates) {
        const before = usedBytes(left)
        left = left.filter((each) => each.contextId !== contextId)
        expect(bytes).toBe(before - usedBytes(left))
      }
    }),
  )
})
