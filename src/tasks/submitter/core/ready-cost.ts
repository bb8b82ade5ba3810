/** What is known of how soon a peer could run a context, as its advert says. */
export interface ReadyFacts {
  tier: 'warm' | 'stored' | 'partial' | 'absent'
  /** Of a partial context, how much of it is there, in [0, 1]. */
  share?: number | undefined
  /** The size of the context. */
  bytes?: number | undefined
  /** Measured: from its files to a loaded context, ms. */
  loadMs?: number | undefined
  /** Measured: at which it has fetched contexts. */
  fetchBytesPerSecond?: number | undefined
}

/** What is taken for peers that have not measured it themselves. */
export interface ReadyDefaults {
  loadMs: number
  fetchBytesPerSecond: number
  /** Of a context. */
  bytes: number
}

/** What to take for what a peer does not say: the median of those that do, else the defaults. */
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

/** Until a peer could run its first request, ms: nothing when it is warm; else its load, after what is missing is fetched. */
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

/** The middle one, of two the lower; undefined when there is none. */
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
