// Python's `json.dumps`.
import type { Fuel } from './fuel.ts'
import {
  compare,
  hasSurrogates,
  print,
  printFloat,
  PyFloat,
  PyTuple,
  TemplateError,
  typeName,
  type Value,
} from './values/values.ts'

export interface JsonOptions {
  isAscii: boolean
  indent: Value
  separators: Value
  sortsKeys: boolean
  fuel: Fuel
}

interface Layout {
  isAscii: boolean
  /** The indent of one level; undefined for one line. */
  step: string | undefined
  comma: string
  colon: string
  sortsKeys: boolean
  fuel: Fuel
}

export function toJson(value: Value, options: JsonOptions): string {
  const { indent, separators } = options
  const step = typeof indent === 'number' ? ' '.repeat(Math.max(0, Math.min(indent, 64))) : indent
  if (step !== null && typeof step !== 'string') throw new TemplateError('tojson: indent is a number or text')
  const pair =
    separators instanceof PyTuple ? separators.items : Array.isArray(separators) ? separators : undefined
  if (separators !== null && pair?.length !== 2) throw new TemplateError('tojson: separators are two texts')
  const [comma = step === null ? ', ' : ',', colon = ': '] = pair?.map(print) ?? []
  return write(value, { ...options, step: step ?? undefined, comma, colon }, '\n')
}

/** @param line a line break, and the indentation of the line that the value stands in */
function write(value: Value, layout: Layout, line: string): string {
  layout.fuel.step()
  if (value === null) return 'null'
  if (typeof value === 'boolean' || typeof value === 'number') return String(value)
  if (typeof value === 'string') return writeText(value, layout)
  if (value instanceof PyFloat) return writeFloat(value.value)
  if (Array.isArray(value)) return writeList(value, layout, line)
  if (value instanceof PyTuple) return writeList(value.items, layout, line)
  if (value instanceof Map) return writeDict(value, layout, line)
  throw new TemplateError(`${typeName(value)} cannot be written as JSON`)
}

function writeFloat(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity'
  return printFloat(value)
}

function writeText(value: string, { isAscii, fuel }: Layout): string {
  fuel.spend(value.length)
  const json = hasSurrogates(value)
    ? `"${Array.from(value)
        .map((one) => JSON.stringify(one).slice(1, -1))
        .join('')}"`
    : JSON.stringify(value)
  if (!isAscii) return json
  return json
    .replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .replaceAll('\\u007f', '\x7f')
}

function writeList(items: readonly Value[], layout: Layout, line: string): string {
  return bracketed(['[', ']'], layout, line, (inner) => items.map((item) => write(item, layout, inner)))
}

function writeDict(dict: Map<Value, Value>, layout: Layout, line: string): string {
  const entries = [...dict]
  if (layout.sortsKeys) entries.sort(([a], [b]) => compare(a, b))
  return bracketed(['{', '}'], layout, line, (inner) =>
    entries.map(
      ([key, value]) => `${writeText(keyText(key), layout)}${layout.colon}${write(value, layout, inner)}`,
    ),
  )
}

function keyText(key: Value): string {
  if (key === null) return 'null'
  return typeof key === 'boolean' ? String(key) : print(key)
}

function bracketed(
  [open, close]: [open: string, close: string],
  { step, comma }: Layout,
  line: string,
  write: (inner: string) => string[],
): string {
  const inner = step === undefined ? '' : line + step
  const parts = write(inner)
  if (parts.length === 0) return open + close
  return `${open}${inner}${parts.join(comma + inner)}${step === undefined ? '' : line}${close}`
}
