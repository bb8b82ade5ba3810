import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/random.ts'
import {
  cdf,
  meanOf,
  residualCdf,
  sample,
  sampleResidual,
  type Distribution,
} from '../../../sim/churn/distribution.ts'
import { SESSION_PRESETS } from '../../../sim/churn/presets.ts'
import { kolmogorovTail } from '../../../sim/statistics/special-functions.ts'
import { distance, draw } from '../support.ts'

const LAWS: [string, Distribution][] = [
  ['exponential', { kind: 'exponential', mean: 3 }],
  ['Weibull, heavy-tailed', { kind: 'weibull', shape: 0.45, scale: 4.16 }],
  ['Weibull, wearing out', { kind: 'weibull', shape: 2.5, scale: 2 }],
  ['log-normal', { kind: 'log-normal', mu: 0.3, sigma: 1.2 }],
  [
    'hyper-exponential',
    {
      kind: 'hyper-exponential',
      phases: [
        { share: 0.7, mean: 0.5 },
        { share: 0.3, mean: 9 },
      ],
    },
  ],
]
const DRAWS = 2_000

/** How likely a distance as large as this one is by chance alone. */
function chanceOf(sorted: readonly number[], law: (x: number) => number): number {
  return kolmogorovTail(Math.sqrt(sorted.length) * distance(sorted, law))
}

describe.each(LAWS)('%s', (_, law) => {
  test('is sampled as its distribution function says', () => {
    const drawn = draw(DRAWS, seededRandom(1), (random) => sample(law, random))
    expect(chanceOf(drawn, (x) => cdf(law, x))).toBeGreaterThan(0.01)
  })

  test('the rest of a session under way follows the stationary residual law', () => {
    const drawn = draw(DRAWS, seededRandom(2), (random) => sampleResidual(law, random))
    expect(chanceOf(drawn, (x) => residualCdf(law, x))).toBeGreaterThan(0.01)
  })

  test('cut off at a maximum, both still do', () => {
    const capped = { ...law, max: 2 }
    const drawn = draw(DRAWS, seededRandom(3), (random) => sample(capped, random))
    expect(drawn.at(-1)).toBe(2)
    // The lump at the maximum is no part of a continuous law: compare what lies below it.
    const below = drawn.filter((x) => x < 2)
    expect(chanceOf(below, (x) => cdf(law, x) / cdf(law, 2))).toBeGreaterThan(0.01)
    const residuals = draw(DRAWS, seededRandom(4), (random) => sampleResidual(capped, random))
    expect(chanceOf(residuals, (x) => residualCdf(capped, x))).toBeGreaterThan(0.01)
  })
})

test('a sampler of another law is found out', () => {
  const drawn = draw(DRAWS, seededRandom(1), (random) => sample({ kind: 'exponential', mean: 3 }, random))
  expect(chanceOf(drawn, (x) => cdf({ kind: 'weibull', shape: 0.85, scale: 3 }, x))).toBeLessThan(0.001)
})

test('the residual law of a heavy tail lasts far longer than a fresh draw', () => {
  const law: Distribution = { kind: 'weibull', shape: 0.45, scale: 4.16 }
  expect(residualCdf(law, 4.16)).toBeLessThan(0.5 * cdf(law, 4.16))
})

test('the presets have the means of their sources, in hours', () => {
  const hours = (name: string): [number, number] => {
    const preset = SESSION_PRESETS[name]
    if (preset === undefined) throw new TypeError(name)
    return [meanOf(preset.up) / 3_600_000, meanOf(preset.down) / 3_600_000]
  }
  expect(hours('nd-condor')[0]).toBeCloseTo(10.3, 1)
  expect(hours('nd-condor')[1]).toBeCloseTo(1.43, 1)
  expect(hours('home-pc')[0]).toBeCloseTo(15.1, 1)
  expect(hours('file-sharing')[1]).toBeCloseTo(7.8, 1)
})
