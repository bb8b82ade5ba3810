import { HearthError } from '../../src/base/errors.ts'
import type { Random } from '../../src/base/random.ts'
import { readChurnLog } from './churn-log.ts'
import { traceOfCounts, type Count } from './counts.ts'
import { traceOf, type Trace, type TraceEvent } from './trace.ts'

/** How a file says who came and went. docs/simulator.md describes each. */
export const TRACE_FORMATS = [
  'hearth-churn',
  'add-remove-csv',
  'add-remove-json',
  'count-csv',
  'skypilot-json',
  'fta-tab',
  'openb-csv',
] as const
export type TraceFormat = (typeof TRACE_FORMATS)[number]

const SECOND_MS = 1_000
/** Units of time that a trace may be in. */
export const TRACE_UNITS = ['ms', 's', 'min', 'h'] as const
export type TraceUnit = (typeof TRACE_UNITS)[number]

const UNITS_MS: Readonly<Record<TraceUnit, number>> = { ms: 1, s: SECOND_MS, min: 60_000, h: 3_600_000 }
const HEADER_UNITS: readonly [RegExp, TraceUnit][] = [
  [/(^|_)ms$|millisecond/i, 'ms'],
  [/(^|_)s$|^sec/i, 's'],
  [/(^|_)min$|^minutes?/i, 'min'],
  [/(^|_)h$|^hours?/i, 'h'],
]

export interface ReadTraceOptions {
  format?: TraceFormat | undefined
  /** The unit of the first column of counts whose header does not say it. */
  unit?: TraceUnit | undefined
  /** Picks the peers that leave, when a format has only counts. */
  random: Random
}

/** Reads a trace. Throws `scenario-invalid` with the line that is wrong. */
export function readTrace(text: string, options: ReadTraceOptions): Trace {
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
}

/** The format that the first line looks like. */
function recognise(text: string): TraceFormat {
  const first = text.slice(0, 10_000).trimStart()
  const lines = first.split('\n')
  const line = lines.find((one) => !one.startsWith('#') || one.includes('event_start_time')) ?? ''
  if (/^\{\s*"schema"/.test(first)) return 'hearth-churn'
  if (first.startsWith('{') && text.includes('"gap_seconds"')) return 'skypilot-json'
  if (/^\[\s*\d+\s*,\s*"/.test(line)) return 'add-remove-json'
  if (/event_start_time/.test(line)) return 'fta-tab'
  if (/scheduled_time/.test(line)) return 'openb-csv'
  if (/^\s*\d+\s*,\s*(add|remove)\s*,/.test(line)) return 'add-remove-csv'
  if (/^[#\w-]+\s*,/.test(line)) return 'count-csv'
  throw invalid(1, `its format is not recognised: name one with --format (${TRACE_FORMATS.join(', ')})`)
}

/** `t_ms,add|remove,node` */
function readAddRemove(text: string): Trace {
  const events = rowsOf(text, ',').map(({ cells: [time, kind, node], line }): TraceEvent => {
    if (kind !== 'add' && kind !== 'remove') throw invalid(line, `"${kind}" is neither add nor remove`)
    if (node === undefined || node === '') throw invalid(line, 'no node is named')
    return { atMs: numberOf(time, line), peer: node, kind: kind === 'add' ? 'up' : 'down' }
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

function unitOf(column = ''): TraceUnit | undefined {
  return HEADER_UNITS.find(([pattern]) => pattern.test(column))?.[1]
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
function readFailureTrace(text: string): Trace {
  const [header, ...rows] = rowsOf(text.replace(/^#\s*/, ''), /[\t ]+/)
  const names = header?.cells ?? []
  const column = (...wanted: string[]): number => {
    const found = wanted.map((name) => names.indexOf(name)).find((index) => index >= 0)
    if (found === undefined) throw invalid(1, `it has no column ${wanted[0]}`)
    return found
  }
  const [peerAt, typeAt] = [column('node_id', 'component_id'), column('event_type')]
  const [startAt, stopAt] = [column('event_start_time'), column('event_stop_time')]
  const events = rows.flatMap(({ cells, line }): TraceEvent[] => {
    if (Number(cells[typeAt]) !== 1) return []
    const peer = cells[peerAt] ?? ''
    const startMs = Math.round(numberOf(cells[startAt], line) * SECOND_MS)
    const stopMs = Math.round(numberOf(cells[stopAt], line) * SECOND_MS)
    return [
      { atMs: startMs, peer, kind: 'up' },
      { atMs: stopMs, peer, kind: 'down' },
    ]
  })
  return fromFirst(events)
}

/** Pods of a cluster with `name`, `scheduled_time` and `deletion_time` in s: each is a session of its own. */
function readPods(text: string): Trace {
  const [header, ...rows] = rowsOf(text, ',')
  const at = (name: string): number => {
    const index = header?.cells.indexOf(name) ?? -1
    if (index < 0) throw invalid(1, `it has no column ${name}`)
    return index
  }
  const [nameAt, fromAt, toAt] = [at('name'), at('scheduled_time'), at('deletion_time')]
  const events = rows.flatMap(({ cells, line }): TraceEvent[] => {
    if ((cells[fromAt] ?? '') === '') return []
    const peer = cells[nameAt] ?? ''
    return [
      { atMs: numberOf(cells[fromAt], line) * SECOND_MS, peer, kind: 'up' },
      { atMs: numberOf(cells[toAt], line) * SECOND_MS, peer, kind: 'down' },
    ]
  })
  return fromFirst(events)
}

/** With the first event at time 0. */
function fromFirst(events: readonly TraceEvent[]): Trace {
  const times = events.map(({ atMs }) => atMs)
  const startMs = times.reduce((least, atMs) => Math.min(least, atMs), Infinity)
  const endMs = times.reduce((most, atMs) => Math.max(most, atMs), 0)
  return traceOf(
    events.map((event) => ({ ...event, atMs: event.atMs - startMs })),
    endMs - startMs,
  )
}

interface Row {
  cells: string[]
  /** From 1. */
  line: number
}

function rowsOf(text: string, separator: string | RegExp): Row[] {
  return linesOf(text)
    .filter(({ content }) => !content.startsWith('#'))
    .map(({ content, line }) => ({ cells: content.split(separator).map((cell) => cell.trim()), line }))
}

function linesOf(text: string): { content: string; line: number }[] {
  return text
    .split('\n')
    .map((content, index) => ({ content: content.trim(), line: index + 1 }))
    .filter(({ content }) => content !== '')
}

function parseJson(text: string, line: number): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw invalid(line, 'it is not JSON')
  }
}

function numberOf(text: string | undefined, line: number): number {
  const value = Number(text)
  if (text === undefined || text === '' || !Number.isFinite(value))
    throw invalid(line, `"${text ?? ''}" is no number`)
  return value
}

function countOf(text: string | undefined, line: number): number {
  return Math.max(0, Math.round(numberOf(text, line)))
}

function invalid(line: number, problem: string): HearthError {
  return new HearthError('scenario-invalid', `line ${line} of the trace: ${problem}`)
}
