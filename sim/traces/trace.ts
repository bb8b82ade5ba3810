/** When peers of a real fleet came and went, seen from time 0 to `endMs`. */
export interface Trace {
  endMs: number
  /** In the order of time; each changes what is known of its peer. */
  events: TraceEvent[]
}

export interface TraceEvent {
  atMs: number
  peer: string
  /** `out-of-sight`: observation ended; the state lasted at least until then. */
  kind: 'up' | 'down' | 'out-of-sight'
  /** It was so before it was first seen: at time 0, and whenever somebody has just begun to look. */
  wasBefore?: boolean
}

/** A stretch of time that a peer was up or down, as far as it was seen. */
export interface Spell {
  peer: string
  isUp: boolean
  fromMs: number
  toMs: number
  /** Whether it began and ended in sight; else it is longer than what was seen of it. */
  isStartSeen: boolean
  isEndSeen: boolean
}

/** Puts events into the order of time and drops those that say what is known already. */
export function traceOf(events: readonly TraceEvent[], endMs: number): Trace {
  const known = new Map<string, TraceEvent['kind']>()
  const changing = events
    .toSorted((a, b) => a.atMs - b.atMs)
    .filter(({ peer, kind }) => {
      const before = known.get(peer) ?? 'out-of-sight'
      known.set(peer, kind)
      return kind !== before
    })
  return { endMs: Math.max(endMs, changing.at(-1)?.atMs ?? 0), events: changing }
}

/** The spells of all peers. What a peer did before it was first seen is unknown, and left out. */
export function spellsOf({ events, endMs }: Trace): Spell[] {
  const open = new Map<string, Spell>()
  const spells: Spell[] = []
  for (const { atMs, peer, kind, wasBefore } of events) {
    const before = open.get(peer)
    // An interval that ends with the trace was cut off by it.
    if (before !== undefined)
      spells.push({ ...before, toMs: atMs, isEndSeen: kind !== 'out-of-sight' && atMs < endMs })
    open.delete(peer)
    if (kind === 'out-of-sight' || atMs >= endMs) continue
    const isStartSeen = wasBefore !== true && atMs > 0
    open.set(peer, { peer, isUp: kind === 'up', fromMs: atMs, toMs: endMs, isStartSeen, isEndSeen: false })
  }
  return [...spells, ...open.values()]
}

/** How many peers were lost at one moment, for each moment at which any was, ms apart at most `togetherMs`. */
export function lossSizes({ events }: Trace, togetherMs: number): number[] {
  const sizes: number[] = []
  let lastMs = -Infinity
  for (const { atMs, kind } of events) {
    if (kind !== 'down') continue
    if (atMs - lastMs <= togetherMs) sizes.push((sizes.pop() ?? 0) + 1)
    else sizes.push(1)
    lastMs = atMs
  }
  return sizes
}
