import { seededRandom, type Random } from '../../src/base/random.ts'
import type { Streams } from '../../sim/churn/churn-model.ts'

/** A stream for each entity and purpose, as the simulator's own, from one seed. */
export function streamsOf(seed: number): Streams {
  return (entity, purpose) => {
    let mixed = seed
    for (const char of `${purpose}/${entity}`) mixed = Math.imul(mixed ^ char.charCodeAt(0), 0x01000193)
    return seededRandom(mixed)
  }
}

export function draw(count: number, random: Random, sample: (random: Random) => number): number[] {
  return Array.from({ length: count }, () => sample(random)).sort((a, b) => a - b)
}

/** Kolmogorov and Smirnov's distance between a sorted sample and a distribution function. */
export function distance(sorted: readonly number[], cdf: (x: number) => number): number {
  return Math.max(
    ...sorted.map((x, index) => {
      const expected = cdf(x)
      return Math.max(expected - index / sorted.length, (index + 1) / sorted.length - expected)
    }),
  )
}
