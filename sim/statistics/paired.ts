import { bootstrapEstimate, meanEstimate, type BootstrapOptions, type Estimate } from './intervals.ts'
import { mean, median } from './summary.ts'

/** The results of two policies on the same random draws, run by run. */
export interface PairedComparison {
  pairs: number
  /** Means over the runs. */
  a: number
  b: number
  /** B − A, with Student's interval of the differences. */
  difference: Estimate
  /** The mean of B over the mean of A, with a bootstrap interval. */
  ratio: Estimate
  /** The median of B − A, with a bootstrap interval: heavy tails move means. */
  medianDifference: Estimate
  /** How many times more runs it would have taken with independent seeds for an interval as narrow. */
  varianceReduction: number
  /** Whether the interval of the difference leaves out 0. */
  isDifferent: boolean
}

/**
 * Compares two samples whose rows belong together in pairs: the same seed gave both the same churn,
 * devices and work, so that only the policies differ.
 */
export function comparePaired(
  a: readonly number[],
  b: readonly number[],
  options: BootstrapOptions,
): PairedComparison {
  if (a.length !== b.length || a.length === 0)
    throw new RangeError(`pairs need as many runs of each: ${a.length} and ${b.length}`)
  const pairs = a.map((value, index) => [value, b[index] ?? Number.NaN] as const)
  const differences = pairs.map(([first, second]) => second - first)
  const difference = meanEstimate(differences, options.confidence)
  return {
    pairs: pairs.length,
    a: mean(a),
    b: mean(b),
    difference,
    ratio: bootstrapEstimate(
      pairs,
      (rows) => mean(rows.map(([, second]) => second)) / mean(rows.map(([first]) => first)),
      options,
    ),
    medianDifference: bootstrapEstimate(differences, median, options),
    varianceReduction: (variance(a) + variance(b)) / variance(differences),
    isDifferent: difference.low > 0 || difference.high < 0,
  }
}

function variance(values: readonly number[]): number {
  const center = mean(values)
  return values.reduce((sum, value) => sum + (value - center) ** 2, 0) / values.length
}
