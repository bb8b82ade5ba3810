/** The facts in an advert that decide how soon a peer could run a context. */
export interface ReadyFacts {
  tier: 'warm' | 'stored' | 'partial' | 'absent'
  /** Present share of a partial context, in [0, 1]. */
  share?: number | undefined
  /** The size of the context. */
  bytes?: number | undefined
  /** Measured: from its files to a loaded context, ms. */
  loadMs?: number | undefined
  /** Measured: at which it has fetched contexts. */
  fetchBytesPerSecond?: number | undefined
}

/** Values assumed for peers that have not measured their own. */
export interface ReadyDefaults {
  loadMs: number
  fetchBytesPerSecond: number
  /** The size of a context. */
  bytes: number
}

/** Values for unreported fields: the median of the peers that report them, else the defaults. */
export function usualFacts(peers: Iterable<ReadyFacts>, defaults: ReadyDefaults): ReadyDefaults {
  const loads: number[] = []
  const rates: number[] = []
  const sizes: number[] = []
  for (const { loadMs, fetchBytesPerSecond, bytes } of peers) {
    if (loadMs !== undefined) loads.push(loadMs)
    if (fetchBytesPerSecond !== undefined) rates.push(fetchBytesPerSecond)
    if (bytes !== undefined) sizes.push(bytes)
  }
  return {
    loadMs: median(loads) ?? defaults.loadMs,
    fetchBytesPerSecond: median(rates) ?? defaults.fetchBytesPerSecond,
    bytes: median(sizes) ?? defaults.bytes,
  }
}

/** Time until a peer could run its first request, ms: 0 when warm, else its download of missing bytes plus its load. */
export function readyMs(facts: ReadyFacts, usual: ReadyDefaults): number {
  if (facts.tier === 'warm') return 0
  const loadMs = facts.loadMs ?? usual.loadMs
  if (facts.tier === 'stored') return loadMs
  const missing = (facts.bytes ?? usual.bytes) * (1 - (facts.tier === 'partial' ? (facts.share ?? 0) : 0))
  const rate = Math.max(1, facts.fetchBytesPerSecond ?? usual.fetchBytesPerSecond)
  return (1_000 * missing) / rate + loadMs
}

/**
 * Whether it is worth to make a peer ready: what it costs is paid back only by what it answers from then until
 * the rest of the job would be done without it, and it must have time for one request at least.
 */
export function paysBack(costMs: number, requestMs: number, projectedMs: number): boolean {
  return costMs === 0 || costMs + requestMs < projectedMs
}

/** The median, the lower of two; undefined for no values. */
export function median(numbers: readonly number[]): number | undefined {
  const values = new Float64Array(numbers)
  const middle = (values.length - 1) >> 1
  // Hoare's selection: only the part that has the middle one in it is put in order.
  for (let low = 0, high = values.length - 1; low < high;) {
    const pivot = values[(low + high) >> 1] as number
    let left = low
    let right = high
    while (left <= right) {
      while ((values[left] as number) < pivot) left += 1
      while ((values[right] as number) > pivot) right -= 1
      if (left > right) break
      const value = values[left] as number
      values[left] = values[right] as number
      values[right] = value
      left += 1
      right -= 1
    }
    if (right < middle) low = left
    if (left > middle) high = right
  }
  return values[middle]
}
