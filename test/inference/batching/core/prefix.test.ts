import fc from 'fast-check'
import { expect, test } from 'vitest'
import { PrefixFinder, sharedLength } from '../../../../src/inference/batching/core/prefix.ts'

const OPTIONS = { tokensMin: 4, sightingsMin: 3, prefixesMax: 2, candidatesMax: 4 }
const SYSTEM = [1, 2, 3, 4, 5, 6]

test('the third prompt with the same beginning has it as its prefix', () => {
  const finder = new PrefixFinder(OPTIONS)
  expect(finder.see([...SYSTEM, 10, 11])).toBeUndefined()
  expect(finder.see([...SYSTEM, 20])).toBeUndefined()
  const prefix = finder.see([...SYSTEM, 30, 31, 32])
  expect(prefix?.tokens).toEqual(SYSTEM)
  expect(finder.see([...SYSTEM, 40])).toBe(prefix)
})

test('a prompt that is the prefix and nothing more keeps a token to compute', () => {
  const finder = new PrefixFinder(OPTIONS)
  for (let index = 0; index < 3; index += 1) finder.see([...SYSTEM, index + 10])
  expect(finder.see(SYSTEM)?.tokens.length ?? 0).toBeLessThan(SYSTEM.length)
})

test('a short beginning in common is chance', () => {
  const finder = new PrefixFinder(OPTIONS)
  for (let index = 0; index < 9; index += 1) expect(finder.see([1, 2, 3, index + 10, 7])).toBeUndefined()
})

test('a longer beginning replaces the shorter that was found first', () => {
  const finder = new PrefixFinder(OPTIONS)
  for (const end of [10, 20, 30]) finder.see([...SYSTEM, end])
  const long = [...SYSTEM, 50, 51, 52, 53, 54]
  const found = [60, 61, 62].map((end) => finder.see([...long, end])?.tokens)
  expect(found).toEqual([SYSTEM, SYSTEM, long])
  expect(finder.see([...SYSTEM, 99])?.tokens).toEqual(SYSTEM)
})

test('a prefix is always a proper beginning of its prompt and long enough, and memory is bounded', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 12 })),
      (prompts) => {
        const finder = new PrefixFinder(OPTIONS)
        for (const prompt of prompts) {
          const prefix = finder.see(prompt)
          if (prefix === undefined) continue
          expect(prefix.tokens.length).toBeGreaterThanOrEqual(OPTIONS.tokensMin)
          expect(prefix.tokens.length).toBeLessThan(prompt.length)
          expect(sharedLength(prompt, prefix.tokens)).toBe(prefix.tokens.length)
        }
      },
    ),
  )
})
