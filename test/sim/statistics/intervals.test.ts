import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/random.ts'
import { exponential, normal } from '../../../sim/churn/distribution.ts'
import { bootstrapEstimate, meanEstimate } from '../../../sim/statistics/intervals.ts'
import { comparePaired } from '../../../sim/statistics/paired.ts'
import { mean, median, quantile, standardDeviation } from '../../../sim/statistics/summary.ts'

describe('summaries', () => {
  test('quantiles lie between neighbours', () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5)
    expect(quantile([1, 2, 3, 4, 5], 0.9)).toBeCloseTo(4.6, 12)
    expect(median([7])).toBe(7)
    expect(quantile([], 0.5)).toBeNaN()
  })

  test('the deviation is that of a sample', () => {
    expect(standardDeviation([2, 4, 4, 4, 5, 5, 7, 9])).toBeCloseTo(Math.sqrt(32 / 7), 12)
    expect(standardDeviation([3])).toBe(0)
  })
})

describe('intervals', () => {
  test("Student's interval of a known sample", () => {
    const { value, low, high } = meanEstimate([10, 12, 14, 16, 18])
    expect(value).toBe(14)
    expect(high - 14).toBeCloseTo(2.7764451 * (Math.sqrt(10) / Math.sqrt(5)), 5)
    expect(14 - low).toBeCloseTo(high - 14, 12)
  })

  test('one run says nothing about its spread', () => {
    expect(meanEstimate([5])).toEqual({ value: 5, low: -Infinity, high: Infinity })
  })

  test('95 of 100 intervals cover the truth, of means and of bootstrapped medians', () => {
    const random = seededRandom(11)
    let means = 0
    let medians = 0
    for (let round = 0; round < 200; round += 1) {
      const sample = Array.from({ length: 25 }, () => exponential(random))
      const ofMean = meanEstimate(sample)
      if (ofMean.low <= 1 && 1 <= ofMean.high) means += 1
      const ofMedian = bootstrapEstimate(sample, median, { random, resamples: 300 })
      if (ofMedian.low <= Math.LN2 && Math.LN2 <= ofMedian.high) medians += 1
    }
    expect(means / 200).toBeGreaterThan(0.88)
    expect(medians / 200).toBeGreaterThan(0.88)
    expect(Math.max(means, medians)).toBeLessThan(200)
  })
})

describe('a paired comparison', () => {
  // Runs differ by far more than the policies do: only pairs can tell.
  const random = seededRandom(5)
  const a = Array.from({ length: 30 }, () => 1_000 + 300 * normal(random))
  const b = a.map((value) => value - 10 + 5 * normal(random))
  const compared = comparePaired(a, b, { random: seededRandom(1) })

  test('finds a small effect under chances that both had in common', () => {
    expect(compared.isDifferent).toBe(true)
    expect(compared.difference.low).toBeLessThan(-10)
    expect(compared.difference.high).toBeGreaterThan(-14)
    expect(compared.difference.high).toBeLessThan(0)
    expect(compared.ratio.value).toBeCloseTo(mean(b) / mean(a), 12)
    expect(compared.ratio.high).toBeLessThan(1)
    expect(compared.medianDifference.high).toBeLessThan(0)
    expect(compared.varianceReduction).toBeGreaterThan(1_000)
  })

  test('does not find one that is not there', () => {
    const noise = a.map((value) => value + 5 * normal(random))
    expect(comparePaired(a, noise, { random: seededRandom(1) }).isDifferent).toBe(false)
  })

  test('is the same for the same seed, and wants pairs', () => {
    expect(comparePaired(a, b, { random: seededRandom(1) })).toEqual(compared)
    expect(() => comparePaired(a, b.slice(1), { random })).toThrow(/as many runs of each/)
  })
})
