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
  const all = [...peers]
  return {
    loadMs: median(all.map(({ loadMs }) => loadMs)) ?? defaults.loadMs,
    fetchBytesPerSecond:
      median(all.map(({ fetchBytesPerSecond }) => fetchBytesPerSecond)) ?? defaults.fetchBytesPerSecond,
    bytes: median(all.map(({ bytes }) => bytes)) ?? defaults.bytes,
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

/** The middle one of those that are there. */
export function median(values: readonly (number | undefined)[]): number | undefined {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)]
}
