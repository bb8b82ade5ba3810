export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** The sample's standard deviation, with n − 1; 0 for a single value. */
export function standardDeviation(values: readonly number[]): number {
  if (values.length < 2) return 0
  const center = mean(values)
  return Math.sqrt(values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1))
}

/** The value below which a share `p` of the sample lies, interpolated between neighbours (Hyndman and Fan's type 7). */
export function quantile(values: readonly number[], p: number): number {
  return quantileOfSorted(ascending(values), p)
}

/** As `quantile`, of a sample that is in ascending order. */
export function quantileOfSorted(sorted: readonly number[], p: number): number {
  if (sorted.length === 0) return Number.NaN
  const position = (sorted.length - 1) * p
  const below = Math.floor(position)
  const low = sorted[below] ?? Number.NaN
  const high = sorted[Math.min(below + 1, sorted.length - 1)] ?? Number.NaN
  return low + (position - below) * (high - low)
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

export function ascending(values: readonly number[]): number[] {
  return values.toSorted((a, b) => a - b)
}
