import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/random.ts'
import { meanOf, sample, type Distribution } from '../../../sim/churn/distribution.ts'
import {
  fitAll,
  fitExponential,
  fitHyperExponential,
  fitLogNormal,
  fitWeibull,
} from '../../../sim/traces/fit.ts'
import { survivalCurve, type Lifetime } from '../../../sim/traces/lifetimes.ts'

/** Draws of a law, of which those longer than `seen` were cut off there. */
function lifetimes(law: Distribution, count: number, seen = Infinity, seed = 3): Lifetime[] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, () => {
    const length = sample(law, random)
    return { length: Math.min(length, seen), isEnded: length <= seen }
  })
}

const WEIBULL: Distribution = { kind: 'weibull', shape: 0.55, scale: 3 }
const LOG_NORMAL: Distribution = { kind: 'log-normal', mu: 0.5, sigma: 1.3 }
const EXPONENTIAL: Distribution = { kind: 'exponential', mean: 4 }
const HYPER: Distribution = {
  kind: 'hyper-exponential',
  phases: [
    { share: 0.7, mean: 0.5 },
    { share: 0.3, mean: 12 },
  ],
}

describe.each([
  ['all seen to their ends', Infinity],
  ['a third and more cut off', 3],
])('maximum likelihood, %s, finds', (_, seen) => {
  test('the mean of an exponential law', () => {
    expect(fitExponential(lifetimes(EXPONENTIAL, 4_000, seen)).mean).toBeCloseTo(4, 0)
  })

  test('the shape and scale of a Weibull law', () => {
    const { shape, scale } = fitWeibull(lifetimes(WEIBULL, 4_000, seen))
    expect(shape).toBeCloseTo(0.55, 1)
    expect(scale / 3).toBeCloseTo(1, 1)
  })

  test('the parameters of a log-normal law', () => {
    const { mu, sigma } = fitLogNormal(lifetimes(LOG_NORMAL, 4_000, seen))
    expect(mu).toBeCloseTo(0.5, 1)
    expect(sigma).toBeCloseTo(1.3, 1)
  })

  test('the phases of a hyper-exponential law', () => {
    const { phases } = fitHyperExponential(lifetimes(HYPER, 4_000, seen))
    expect(phases[0]?.share).toBeCloseTo(0.7, 1)
    expect((phases[0]?.mean ?? 0) / 0.5).toBeCloseTo(1, 1)
    expect((phases[1]?.mean ?? 0) / 12).toBeCloseTo(1, 0)
  })
})

test('taking cut-off lifetimes for whole ones would be found out', () => {
  const cut = lifetimes(EXPONENTIAL, 4_000, 3)
  const naive = cut.map(({ length }) => ({ length, isEnded: true }))
  expect(fitExponential(naive).mean).toBeLessThan(2.5)
  expect(fitExponential(cut).mean).toBeGreaterThan(3.7)
})

describe.each([
  ['weibull', WEIBULL],
  ['log-normal', LOG_NORMAL],
  ['exponential', EXPONENTIAL],
  ['hyper-exponential', HYPER],
])('of draws of a law of the kind %s', (kind, law) => {
  const fits = fitAll(lifetimes(law, 3_000, meanOf(law) * 2))

  test('that kind fits best, closely, and the laws come in the order of their AIC', () => {
    expect(fits[0]?.law.kind).toBe(kind)
    expect(fits[0]?.ksDistance).toBeLessThan(0.03)
    expect(fits.map(({ aic }) => aic)).toEqual(fits.map(({ aic }) => aic).sort((a, b) => a - b))
  })
})

test('a bad law is far from what was seen', () => {
  const exponential = fitAll(lifetimes(WEIBULL, 3_000)).find(({ law }) => law.kind === 'exponential')
  expect(exponential?.ksDistance).toBeGreaterThan(0.1)
})

test('too few ends are not fitted', () => {
  expect(fitAll(lifetimes(EXPONENTIAL, 9))).toEqual([])
})

test("Kaplan and Meier's curve of a textbook sample", () => {
  const seen = [6, 6, 6, 7, 10, 13, 16, 22, 23].map((length) => ({ length, isEnded: true }))
  const cut = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35].map((length) => ({ length, isEnded: false }))
  const curve = survivalCurve([...seen, ...cut])
  const expected = [0.857, 0.807, 0.753, 0.69, 0.627, 0.538, 0.448]
  expect(curve.map(({ alive }) => Math.round(alive * 1_000) / 1_000)).toEqual(expected)
})
