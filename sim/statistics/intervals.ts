import { randomInteger, type Random } from '../../src/base/random.ts'
import { normalCdf, normalQuantile, studentQuantile } from './special-functions.ts'
import { ascending, mean, quantileOfSorted, standardDeviation } from './summary.ts'

/** An estimate and the interval that covers the truth with the confidence asked for. */
export interface Estimate {
  value: number
  low: number
  high: number
}

/** The mean of independent runs with Student's interval. One run has no interval: its bounds are infinite. */
export function meanEstimate(values: readonly number[], confidence = 0.95): Estimate {
  const value = mean(values)
  if (values.length < 2) return { value, low: -Infinity, high: Infinity }
  const t = studentQuantile(0.5 + confidence / 2, values.length - 1)
  const half = (t * standardDeviation(values)) / Math.sqrt(values.length)
  return { value, low: value - half, high: value + half }
}

export interface BootstrapOptions {
  random: Random
  confidence?: number
  resamples?: number
}

/**
 * A statistic of independent rows with Efron's bias-corrected and accelerated bootstrap interval
 * (doi:10.2307/2289144): for medians and ratios, whose spread no formula gives.
 */
export function bootstrapEstimate<T>(
  rows: readonly T[],
  statistic: (rows: readonly T[]) => number,
  { random, confidence = 0.95, resamples = 2_000 }: BootstrapOptions,
): Estimate {
  const value = statistic(rows)
  if (rows.length < 2) return { value, low: -Infinity, high: Infinity }
  const drawn = ascending(
    Array.from({ length: resamples }, () =>
      statistic(rows.map((row) => rows[randomInteger(random, rows.length)] ?? row)),
    ),
  )
  const below =
    drawn.filter((other) => other < value).length + drawn.filter((other) => other === value).length / 2
  const bias = normalQuantile(Math.min(1 - 1 / resamples, Math.max(1 / resamples, below / resamples)))
  const acceleration = accelerationOf(rows, statistic)
  const bound = (tail: number): number => {
    const z = bias + normalQuantile(tail)
    return quantileOfSorted(drawn, normalCdf(bias + z / (1 - acceleration * z)))
  }
  return { value, low: bound((1 - confidence) / 2), high: bound((1 + confidence) / 2) }
}

/** How the statistic's spread changes with its value, from leaving out one row at a time. */
function accelerationOf<T>(rows: readonly T[], statistic: (rows: readonly T[]) => number): number {
  const left = rows.map((_, index) => statistic(rows.toSpliced(index, 1)))
  const center = mean(left)
  const squares = left.reduce((sum, value) => sum + (center - value) ** 2, 0)
  if (squares === 0) return 0
  return left.reduce((sum, value) => sum + (center - value) ** 3, 0) / (6 * squares ** 1.5)
}
