import { HearthError, isHearthError } from '../../src/base/errors.ts'
import type { Random } from '../../src/base/random.ts'
import { readChurnLog } from './churn-log.ts'
import { traceOfCounts, type Count } from './counts.ts'
import { isIntervalCsv, readIntervalCsv } from './interval-csv.ts'
import { traceOfIntervals, type Interval } from './intervals.ts'
import { traceOf, type Trace, type TraceEvent } from './trace.ts'
import {
  endMs,
  invalidTrace as invalid,
  linesOf,
  numberOf,
  rowsOf,
  timeMs,
  TRACE_UNITS,
  UNITS_MS,
  unitOf,
  type TraceUnit,
} from './trace-text.ts'

/** How a file says who came and went. docs/simulator.md describes each. */
export const TRACE_FORMATS = [
  'hearth-churn',
  'add-remove-csv',
  'add-remove-json',
  'count-csv',
  'skypilot-json',
  'fta-tab',
  'openb-csv',
  'interval-csv',
] as const
export type TraceFormat = (typeof TRACE_FORMATS)[number]

const SECOND_MS = 1_000

export interface ReadTraceOptions {
  format?: TraceFormat | undefined
  /** The unit of times whose header does not say it. */
  unit?: TraceUnit | undefined
  /** Picks the peers that leave, when a format has only counts. */
  random: Random
  /** Errors name it. */
  file?: string | undefined
}

/** Reads a trace. Throws `scenario-invalid` with the file and the line that is wrong. */
export function readTrace(text: string, options: ReadTraceOptions): Trace {
  try {
    return readText(text, options)
  } catch (error) {
    if (options.file === undefined || !isHearthError(error)) throw error
    throw new HearthError(error.code, `${options.file}: ${error.message}`, { cause: error })
  }
}

function readText(marked: string, options: ReadTraceOptions): Trace {
  const text = marked.replace(/^\uFEFF/, '')
  const format = options.format ?? recognise(text)
  const trace = READERS[format](text, options)
  if (trace.events.length === 0) throw invalid(1, `nobody comes or goes in it, read as ${format}`)
  return trace
}

const READERS: Record<TraceFormat, (text: string, options: ReadTraceOptions) => Trace> = {
  'hearth-churn': readChurnLog,
  'add-remove-csv': readAddRemove,
  'add-remove-json': readAddRemoveJson,
  'count-csv': readCounts,
  'skypilot-json': readSkypilot,
  'fta-tab': readFailureTrace,
  'openb-csv': readPods,
  'interval-csv': (text, { unit }) => readIntervalCsv(text, unit),
}

/** The format that the first line looks like. */
function recognise(text: string): TraceFormat {
  const first = text.slice(0, 10_000).trimStart()
  const lines = first.split('\n').filter((one) => one.trim() !== '')
  const line = lines.find((one) => !one.startsWith('#') || one.includes('event_start_time')) ?? ''
  if (/^\{\s*"schema"/.test(first)) return 'hearth-churn'
  if (first.startsWith('{') && text.includes('"gap_seconds"')) return 'skypilot-json'
  if (/^\[\s*\d+\s*,\s*"/.test(line)) return 'add-remove-json'
  if (/event_start_time/.test(line)) return 'fta-tab'
  if (/scheduled_time/.test(line)) return 'openb-csv'
  if (/^[^,]+,\s*(add|remove)\s*,/.test(line)) return 'add-remove-csv'
  if (isIntervalCsv(line)) return 'interval-csv'
  if (/^[#\w-]+\s*,/.test(line)) return 'count-csv'
  throw invalid(1, `its format is not recognised: name one with --format (${TRACE_FORMATS.join(', ')})`)
}

/** `t_ms,add|remove,node` */
function readAddRemove(text: string, { unit = 'ms' }: ReadTraceOptions): Trace {
  const events = rowsOf(text, ',').map(({ cells: [time, kind, node], line }): TraceEvent => {
    if (kind !== 'add' && kind !== 'remove') throw invalid(line, `"${kind}" is neither add nor remove`)
    if (node === undefined || node === '') throw invalid(line, 'no node is named')
    return { atMs: timeMs(time, unit, line), peer: node, kind: kind === 'add' ? 'up' : 'down' }
  })
  return fromFirst(events)
}

/** One `[t_ms, "add" | "remove" | …, { nodes, duration }]` a line; rows of other kinds only pass time. */
function readAddRemoveJson(text: string): Trace {
  let endMs = 0
  const events = linesOf(text).flatMap(({ content, line }): TraceEvent[] => {
    const row = parseJson(content, line)
    if (!Array.isArray(row)) throw invalid(line, 'it is not a JSON array')
    const [time, kind, details] = row as [
      unknown,
      unknown,
      { nodes?: unknown; duration?: unknown } | undefined,
    ]
    const atMs = numberOf(String(time), line)
    endMs = Math.max(endMs, atMs + (Number(details?.duration) || 0))
    if (kind !== 'add' && kind !== 'remove') return []
    if (!Array.isArray(details?.nodes)) throw invalid(line, 'it has no list of nodes')
    return details.nodes.map((node) => ({ atMs, peer: String(node), kind: kind === 'add' ? 'up' : 'down' }))
  })
  return traceOf(events, endMs)
}

/** `time,count` in the header's or a given unit, or `date, time, count`. */
function readCounts(text: string, { random, unit }: ReadTraceOptions): Trace {
  const [header, ...rest] = rowsOf(text, ',')
  if (header === undefined) throw invalid(1, 'it is empty')
  const hasHeader = header.cells.every((cell) => !/^[-\d.]/.test(cell))
  const rows = hasHeader ? rest : [header, ...rest]
  const columns = hasHeader ? header.cells : []
  const counts = rows.map(({ cells, line }): Count => {
    if (cells.length >= 3 && /^\d{4}-\d\d-\d\d$/.test(cells[0] ?? '')) {
      const atMs = Date.parse(`${cells[0]}T${cells[1]}Z`)
      if (Number.isNaN(atMs)) throw invalid(line, `"${cells[0]}, ${cells[1]}" is no date and time`)
      return { atMs, peers: countOf(cells[2], line) }
    }
    const known = unit ?? unitOf(columns[0])
    if (known === undefined) {
      throw invalid(line, `the unit of its times is not known: say it with --unit ${TRACE_UNITS.join(', ')}`)
    }
    return { atMs: Math.round(numberOf(cells[0], line) * UNITS_MS[known]), peers: countOf(cells[1], line) }
  })
  return traceOfCounts(counts, random)
}

/** `{ metadata: { gap_seconds }, data: [instances, …] }` */
function readSkypilot(text: string, { random }: ReadTraceOptions): Trace {
  const { metadata, data } = (parseJson(text, 1) ?? {}) as {
    metadata?: { gap_seconds?: unknown }
    data?: unknown
  }
  const stepMs = Number(metadata?.gap_seconds) * SECOND_MS
  if (!(stepMs > 0) || !Array.isArray(data)) throw invalid(1, 'it has no metadata.gap_seconds and data')
  const counts = data.map((peers, step) => ({
    atMs: Math.round(step * stepMs),
    peers: countOf(String(peers), 1),
  }))
  return traceOfCounts(counts, random)
}

/** The Failure Trace Archive's event_trace.tab: its header names the columns; type 1 is availability. */
function readFailureTrace(text: string, { unit = 's' }: ReadTraceOptions): Trace {
  const uncommented = text.replace(/^#\s*(?=.*event_start_time)/m, '')
  const isTabbed = /\t.*event_start_time|event_start_time.*\t/.test(uncommented)
  // Where tabs part the columns, one may be empty and another may hold spaces.
  const [header, ...rows] = rowsOf(uncommented, isTabbed ? '\t' : /[\t ]+/)
  const names = header?.cells ?? []
  const column = (...wanted: string[]): number => {
    const found = wanted.map((name) => names.indexOf(name)).find((index) => index >= 0)
    if (found === undefined) throw invalid(1, `it has no column ${wanted[0]}`)
    return found
  }
  const [peerAt, typeAt] = [column('node_id', 'component_id'), column('event_type')]
  const [startAt, stopAt] = [column('event_start_time'), column('event_stop_time')]
  const last = Math.max(peerAt, typeAt, startAt, stopAt)
  const intervals = rows.flatMap(({ cells, line }): Interval[] => {
    if (cells.length <= last)
      throw invalid(line, `it has ${cells.length} columns, and the header has ${names.length}`)
    if (numberOf(cells[typeAt], line) !== 1) return []
    const [fromMs, toMs] = [timeMs(cells[startAt], unit, line), endMs(cells[stopAt], unit, line)]
    return [{ peer: cells[peerAt] ?? '', fromMs, toMs, line }]
  })
  return traceOfIntervals(intervals)
}

/** Pods of a cluster with `name`, `scheduled_time` and `deletion_time` in s: each is a session of its own. */
function readPods(text: string, { unit = 's' }: ReadTraceOptions): Trace {
  const [header, ...rows] = rowsOf(text, ',')
  const at = (name: string): number => {
    const index = header?.cells.indexOf(name) ?? -1
    if (index < 0) throw invalid(1, `it has no column ${name}`)
    return index
  }
  const [nameAt, fromAt, toAt] = [at('name'), at('scheduled_time'), at('deletion_time')]
  const intervals = rows.flatMap(({ cells, line }): Interval[] => {
    if ((cells[fromAt] ?? '') === '') return []
    const [fromMs, toMs] = [timeMs(cells[fromAt], unit, line), endMs(cells[toAt], unit, line)]
    return [{ peer: cells[nameAt] ?? '', fromMs, toMs, line }]
  })
  return traceOfIntervals(intervals)
}

/** With the first event at time 0. */
function fromFirst(events: readonly TraceEvent[]): Trace {
  const times = events.map(({ atMs }) => atMs)
  const startMs = times.reduce((least, atMs) => Math.min(least, atMs), Infinity)
  const lastMs = times.reduce((most, atMs) => Math.max(most, atMs), -Infinity)
  return traceOf(
    events.map((event) => ({ ...event, atMs: event.atMs - startMs })),
    lastMs - startMs,
  )
}

function parseJson(text: string, line: number): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw invalid(line, 'it is not JSON')
  }
}

function countOf(text: string | undefined, line: number): number {
  return Math.max(0, Math.round(numberOf(text, line)))
}
