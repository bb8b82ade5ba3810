import fc from 'fast-check'
import { expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/random.ts'
import {
  greatest,
  logprobsOf,
  penalize,
  sample,
  TokenCounts,
  type SamplingSettings,
} from '../../../src/inference/sampling/sampling.ts'

const PLAIN: SamplingSettings = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
}

/** Logits whose probabilities at temperature 1 are as given. */
const logitsOf = (...probabilities: number[]): Float32Array => Float32Array.from(probabilities, Math.log)

/** The tokens that come in 2,000 draws. */
function drawn(logits: Float32Array, settings: Partial<SamplingSettings>): Map<number, number> {
  const random = seededRandom(1)
  const counts = new Map<number, number>()
  for (let draw = 0; draw < 2_000; draw += 1) {
    const token = sample(logits, { ...PLAIN, ...settings }, random)
    counts.set(token, (counts.get(token) ?? 0) + 1)
  }
  return counts
}

const tokensOf = (counts: Map<number, number>): number[] =>
  [...counts.keys()].sort((left, right) => left - right)

test('temperature 0 takes the likeliest, the first of equals', () => {
  expect(sample(Float32Array.of(1, 3, 3, 2), { ...PLAIN, temperature: 0 }, seededRandom(1))).toBe(1)
})

test('tokens come as often as they are likely', () => {
  const counts = drawn(logitsOf(0.5, 0.3, 0.2), {})
  expect((counts.get(0) ?? 0) / 2_000).toBeCloseTo(0.5, 1)
  expect((counts.get(1) ?? 0) / 2_000).toBeCloseTo(0.3, 1)
})

test.each<[Partial<SamplingSettings>, number[]]>([
  [{ topK: 2 }, [0, 2]],
  [{ topP: 0.7 }, [0, 2]],
  [{ topP: 0.4 }, [0]],
  [{ minP: 0.45 }, [0, 2]],
  [{ topK: 3, topP: 0.5 }, [0]],
  [{ topK: 3, minP: 0.2 }, [0, 1, 2]],
  [{ topP: 0.95, minP: 0.9 }, [0]],
])('%o leaves %j', (settings, tokens) => {
  // Likeliest first: tokens 0, 2, 1, 3.
  expect(tokensOf(drawn(logitsOf(0.5, 0.13, 0.27, 0.1), settings))).toEqual(tokens)
})

test('top-p and top-k agree with sorting everything', () => {
  const logits = fc.array(fc.float({ min: -20, max: 20, noNaN: true }), { minLength: 1, maxLength: 60 })
  fc.assert(
    fc.property(
      logits,
      fc.integer({ min: 1, max: 70 }),
      fc.double({ min: 0.05, max: 0.999, noNaN: true }),
      (values, topK, topP) => {
        const array = Float32Array.from(values)
        const top = array[greatest(array)] ?? 0
        const weightOf = (token: number): number => Math.exp((array[token] ?? 0) - top)
        const sorted = [...array.keys()].sort((a, b) => weightOf(b) - weightOf(a) || a - b).slice(0, topK)
        const weights = sorted.map(weightOf)
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        let mass = 0
        const kept = sorted.filter((_, index) => {
          const isKept = mass < topP * total
          mass += weights[index] ?? 0
          return isKept
        })
        const random = { next: () => 1 - 1e-12 }
        expect(kept).toContain(sample(array, { ...PLAIN, topK, topP }, random))
        expect(sample(array, { ...PLAIN, topK, topP }, { next: () => 0 })).toBe(sorted[0])
      },
    ),
  )
})

test('penalties lower what has been said', () => {
  const counts = new TokenCounts([0])
  counts.add(1)
  counts.add(1)
  const settings = { ...PLAIN, repetitionPenalty: 2, presencePenalty: 0.5, frequencyPenalty: 0.25 }
  expect([...penalize(Float32Array.of(4, -1, 3), counts, settings)]).toEqual([2, -2 - 0.5 - 0.5, 3])
})

test('log-probabilities are those of the model, likeliest first', () => {
  const { chosen, top } = logprobsOf(logitsOf(0.2, 0.5, 0.3), 0, 2)
  expect(Math.exp(chosen.logprob)).toBeCloseTo(0.2)
  expect(top.map(({ token, logprob }) => [token, Number(Math.exp(logprob).toFixed(3))])).toEqual([
    [1, 0.5],
    [2, 0.3],
  ])
})
