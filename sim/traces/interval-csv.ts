import { CsvError, parse } from 'csv-parse/sync'
import { traceOfIntervals } from './intervals.ts'
import type { Trace } from './trace.ts'
import {
  endMs,
  invalidTrace,
  isOpenEnd,
  isTime,
  timeMs,
  unitOf,
  type Row,
  type TraceUnit,
} from './trace-text.ts'

const UNIT_WORDS = '(?:_?(?:time|at))?(?:_?(?:ms|s|sec|secs|seconds?|min|minutes?|h|hours?|iso|utc))?'
const HOST = /^(?:host|node|peer|machine|worker|instance|device|server|name|id)(?:_?(?:name|id))?$/i
const ON = new RegExp(`^(?:on|up|start|from|begin|join|joined|online)${UNIT_WORDS}$`, 'i')
const OFF = new RegExp(`^(?:off|down|stop|end|to|until|leave|left|offline)${UNIT_WORDS}$`, 'i')

/** The unit of times where neither the header nor the command names one. */
const UNIT_DEFAULT: TraceUnit = 's'

interface Columns {
  host: number
  on: number
  off: number
  unit: TraceUnit | undefined
}

/** Whether a line is the header, or the first row, of `host,on,off`. */
export function isIntervalCsv(line: string): boolean {
  const cells = line.split(',').map((cell) => cell.trim())
  if (columnsOf(cells) !== undefined) return true
  const [host, on, off] = cells
  return cells.length === 3 && !isTime(host) && isTime(on) && (isTime(off) || isOpenEnd(off))
}

/** `host,on,off`: one row for each time that a host was up; a host has as many as it likes. */
export function readIntervalCsv(text: string, unit: TraceUnit | undefined): Trace {
  const [first, ...rest] = csvRows(text)
  if (first === undefined) throw invalidTrace(1, 'it is empty')
  const named = columnsOf(first.cells)
  const columns = named ?? { host: 0, on: 1, off: 2, unit: undefined }
  const { host, on, off } = columns
  const known = columns.unit ?? unit ?? UNIT_DEFAULT
  return traceOfIntervals(
    (named === undefined ? [first, ...rest] : rest).map(({ cells, line }) => {
      if (cells.length <= Math.max(host, on, off))
        throw invalidTrace(line, `it has ${cells.length} columns; write host,on,off`)
      return {
        peer: cells[host] ?? '',
        fromMs: timeMs(cells[on], known, line),
        toMs: endMs(cells[off], known, line),
        line,
      }
    }),
  )
}

function columnsOf(cells: readonly string[]): Columns | undefined {
  const at = (pattern: RegExp): number => cells.findIndex((cell) => pattern.test(cell))
  const [host, on, off] = [at(HOST), at(ON), at(OFF)]
  if (host < 0 || on < 0 || off < 0) return undefined
  return { host, on, off, unit: unitOf(cells[on]) ?? unitOf(cells[off]) }
}

function csvRows(text: string): Row[] {
  try {
    const rows = parse(text, {
      bom: true,
      comment: '#',
      comment_no_infix: true,
      info: true,
      relax_column_count: true,
      skip_empty_lines: true,
      trim: true,
    }) as unknown as { record: string[]; info: { lines: number } }[]
    return rows.map(({ record, info }) => ({ cells: record, line: info.lines }))
  } catch (error) {
    if (!(error instanceof CsvError)) throw error
    throw invalidTrace(Number((error as { lines?: unknown }).lines ?? 1), error.message)
  }
}
