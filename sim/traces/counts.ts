import { randomInteger, type Random } from '../../src/base/random.ts'
import { traceOf, type Trace, type TraceEvent } from './trace.ts'

/** How many were there at a time. */
export interface Count {
  atMs: number
  peers: number
}

/**
 * A trace from counts alone. They do not say who left: each that is there is equally likely to be the
 * one. So losses in bulk are true to the counts (net of those who came in the same step), and lives
 * are those of a fleet in which age makes no difference. The order is that of the counts: a clock that
 * was set back stands still.
 */
export function traceOfCounts(counts: readonly Count[], random: Random): Trace {
  let nowMs = counts[0]?.atMs ?? 0
  const startMs = nowMs
  const up: string[] = []
  const events: TraceEvent[] = []
  let named = 0
  for (const { atMs, peers } of counts) {
    nowMs = Math.max(nowMs, atMs)
    while (up.length < peers) {
      const peer = `peer-${named}`
      named += 1
      up.push(peer)
      events.push({ atMs: nowMs - startMs, peer, kind: 'up' })
    }
    while (up.length > Math.max(0, peers)) {
      const index = randomInteger(random, up.length)
      const [peer] = up.splice(index, 1)
      if (peer !== undefined) events.push({ atMs: nowMs - startMs, peer, kind: 'down' })
    }
  }
  return traceOf(events, nowMs - startMs)
}
