import { traceOf, type Trace, type TraceEvent } from './trace.ts'

/** The log of churn that `hearth up --churn-log` writes: docs/protocol/churn-log.md. */
interface Schema {
  log: string
  version: number
  /** Peers first seen this soon after the log began, ms, joined before it. */
  settledMs: number
}

interface Line {
  schema?: Schema
  openedAt?: number
  t?: number
  kind?: string
  peer?: string
}

/**
 * Reads a churn log. A restarted peer appends to the same file. Nothing was observed between its runs, so
 * peers found after a restart were up before it.
 */
export function readChurnLog(text: string): Trace {
  const events: TraceEvent[] = []
  const seen = new Set<string>()
  let originMs: number | undefined
  let openedMs = 0
  let settledMs = 0
  let lastMs = 0
  for (const { schema, openedAt, t, kind, peer } of text.split('\n').map(parse)) {
    if (schema !== undefined && openedAt !== undefined) {
      for (const peer of seen) events.push({ atMs: lastMs, peer, kind: 'out-of-sight' })
      seen.clear()
      originMs ??= openedAt
      openedMs = openedAt - originMs
      settledMs = schema.settledMs
    }
    if (t === undefined) continue
    lastMs = Math.round(openedMs + t)
    if (peer === undefined || (kind !== 'up' && kind !== 'down')) continue
    seen.add(peer)
    events.push({ atMs: lastMs, peer, kind, wasBefore: t < settledMs && kind === 'up' })
  }
  return traceOf(events, lastMs)
}

/** A trace as such a log, so that one reader serves both. */
export function writeChurnLog({ events, endMs }: Trace): string {
  const schema: Schema = { log: 'hearth-churn', version: 1, settledMs: 0 }
  const lines: object[] = [
    { schema, openedAt: 0 },
    ...events.map(({ atMs, kind, peer }) => ({ t: atMs, kind, peer })),
    { t: endMs, kind: 'end' },
  ]
  return `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`
}

/** A line that its writer could not finish is no line. */
function parse(line: string): Line {
  try {
    return JSON.parse(line) as Line
  } catch {
    return {}
  }
}
