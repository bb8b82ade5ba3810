import { traceOf, type Trace, type TraceEvent } from './trace.ts'
import { invalidTrace } from './trace-text.ts'

/** A time in which a peer was up, as one row of a file says it. */
export interface Interval {
  peer: string
  fromMs: number
  /** Undefined when it had not ended when the trace did. */
  toMs: number | undefined
  /** From 1. */
  line: number
}

/** A host's time up: the end may be Infinity. */
type Span = [fromMs: number, toMs: number]

/**
 * A trace that begins with the first interval. A host is up in the union of its intervals, whatever their order:
 * those that overlap or touch are one. Throws `scenario-invalid` with the line of one that cannot be.
 */
export function traceOfIntervals(intervals: readonly Interval[]): Trace {
  let startMs = Infinity
  let endMs = -Infinity
  for (const { peer, fromMs, toMs, line } of intervals) {
    if (peer === '') throw invalidTrace(line, 'no node is named')
    if (toMs !== undefined && toMs < fromMs)
      throw invalidTrace(line, `the interval of "${peer}" ends before it begins; exchange its times`)
    startMs = Math.min(startMs, fromMs)
    endMs = Math.max(endMs, fromMs, toMs ?? fromMs)
  }
  const [first] = intervals
  if (first !== undefined && !(endMs > startMs))
    throw invalidTrace(first.line, 'no interval ends after this time, so the length of the trace is unknown')
  const events: TraceEvent[] = []
  for (const [peer, own] of Map.groupBy(intervals, ({ peer }) => peer))
    for (const [fromMs, toMs] of union(own)) {
      events.push({ atMs: fromMs - startMs, peer, kind: 'up' })
      if (toMs < Infinity) events.push({ atMs: toMs - startMs, peer, kind: 'down' })
    }
  return traceOf(events, Math.max(0, endMs - startMs))
}

function union(intervals: readonly Interval[]): Span[] {
  const spans: Span[] = []
  for (const { fromMs, toMs = Infinity } of intervals.toSorted((one, other) => one.fromMs - other.fromMs)) {
    if (toMs === fromMs) continue
    const last = spans.at(-1)
    if (last !== undefined && fromMs <= last[1]) last[1] = Math.max(last[1], toMs)
    else spans.push([fromMs, toMs])
  }
  return spans
}
