// Rows, times and errors of the text files that traces come in.
import { HearthError } from '../../src/base/errors.ts'

const SECOND_MS = 1_000
/** Units of time that a trace may be in. */
export const TRACE_UNITS = ['ms', 's', 'min', 'h'] as const
export type TraceUnit = (typeof TRACE_UNITS)[number]

export const UNITS_MS: Readonly<Record<TraceUnit, number>> = {
  ms: 1,
  s: SECOND_MS,
  min: 60 * SECOND_MS,
  h: 3_600 * SECOND_MS,
}
const HEADER_UNITS: readonly [RegExp, TraceUnit][] = [
  [/(^|_)ms$|millisecond/i, 'ms'],
  [/(^|_)s$|(^|_)sec(ond)?s?$|^sec/i, 's'],
  [/(^|_)min$|(^|_)minutes?/i, 'min'],
  [/(^|_)h$|(^|_)hours?/i, 'h'],
]

const ISO_TIME = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?\s*(?:Z|[+-]\d\d:?\d\d)?)?$/i
/** The end of an interval that goes on when its trace ends. */
const OPEN_END = /^(?:|-|-1(?:\.0*)?|null|none|nan|n\/a|inf|infinity)$/i

export interface Row {
  cells: string[]
  /** From 1. */
  line: number
}

export function rowsOf(text: string, separator: string | RegExp): Row[] {
  return linesOf(text)
    .filter(({ content }) => !content.trimStart().startsWith('#'))
    .map(({ content, line }) => ({ cells: content.split(separator).map((cell) => cell.trim()), line }))
}

/** Without those that are blank. White space stays at both ends, since a column may be empty. */
export function linesOf(text: string): { content: string; line: number }[] {
  return text
    .split('\n')
    .map((content, index) => ({ content: content.replace(/\r$/, ''), line: index + 1 }))
    .filter(({ content }) => content.trim() !== '')
}

/** The unit that a column's name ends with. */
export function unitOf(column = ''): TraceUnit | undefined {
  return HEADER_UNITS.find(([pattern]) => pattern.test(column))?.[1]
}

export function isTime(text = ''): boolean {
  return ISO_TIME.test(text) || (text !== '' && Number.isFinite(Number(text)))
}

export function isOpenEnd(text = ''): boolean {
  return OPEN_END.test(text)
}

/** A number in the unit, or a date and time (UTC unless it says another zone), ms. */
export function timeMs(text: string | undefined, unit: TraceUnit, line: number): number {
  if (text === undefined || !ISO_TIME.test(text)) return Math.round(numberOf(text, line) * UNITS_MS[unit])
  const hasZone = /Z$|[+-]\d\d:?\d\d$/i.test(text.slice('2026-01-01'.length))
  const isDate = text.length === '2026-01-01'.length
  const ms = Date.parse(
    `${text.replace(' ', 'T').replace(',', '.').replace(/\s/, '')}${hasZone || isDate ? '' : 'Z'}`,
  )
  if (Number.isNaN(ms)) throw invalidTrace(line, `"${text}" is no date and time`)
  return ms
}

/** As `timeMs`; undefined when it says that the interval has no end. */
export function endMs(text: string | undefined, unit: TraceUnit, line: number): number | undefined {
  return isOpenEnd(text) ? undefined : timeMs(text, unit, line)
}

export function numberOf(text: string | undefined, line: number): number {
  const value = Number(text)
  if (text === undefined || text === '' || !Number.isFinite(value))
    throw invalidTrace(line, `"${text ?? ''}" is no number`)
  return value
}

export function invalidTrace(line: number, problem: string): HearthError {
  return new HearthError('scenario-invalid', `line ${line} of the trace: ${problem}`)
}
