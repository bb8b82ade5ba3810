// Python's values as templates see them: what they print as, are equal to, and sort by.

/** A template that cannot be read or rendered; its message is for whoever wrote the template. */
export class TemplateError extends Error {}

/**
 * None is null, a list is an array, a dict a Map, an int a number. Python tells 1 from 1.0 and a list
 * from a tuple, so these have classes of their own.
 */
export type Value =
  | null
  | boolean
  | number
  | string
  | Value[]
  | Map<Value, Value>
  | PyFloat
  | PyTuple
  | PyRange
  | PyView
  | PyIterator
  | PyObject
  | PyFunction
  | Undefined

export class PyFloat {
  readonly value: number
  constructor(value: number) {
    this.value = value
  }
}

export class PyTuple {
  readonly items: readonly Value[]
  constructor(items: readonly Value[]) {
    this.items = items
  }
}

export class PyRange {
  readonly start: number
  readonly stop: number
  readonly step: number
  readonly length: number
  constructor(start: number, stop: number, step: number) {
    this.start = start
    this.stop = stop
    this.step = step
    this.length = Math.max(0, Math.ceil((stop - start) / step))
  }
  at(index: number): number {
    return this.start + index * this.step
  }
}

/** The result of `dict.items()`, `keys()` and `values()`. */
export class PyView {
  readonly kind: 'items' | 'keys' | 'values'
  readonly dict: Map<Value, Value>
  constructor(kind: PyView['kind'], dict: Map<Value, Value>) {
    this.kind = kind
    this.dict = dict
  }
  *[Symbol.iterator](): Generator<Value> {
    if (this.kind === 'keys') yield* this.dict.keys()
    else if (this.kind === 'values') yield* this.dict.values()
    else for (const [key, value] of this.dict) yield new PyTuple([key, value])
  }
}

/** A generator: read once, without a length. */
export class PyIterator {
  readonly #iterator: Iterator<Value>
  constructor(values: Iterable<Value>) {
    this.#iterator = values[Symbol.iterator]()
  }
  *[Symbol.iterator](): Generator<Value> {
    for (;;) {
      const next = this.#iterator.next()
      if (next.done === true) return
      yield next.value
    }
  }
}

/** A namespace, a `loop`, a cycler: named values, and what calling it does. */
export class PyObject {
  readonly kind: string
  readonly attribute: (name: string) => Value | undefined
  readonly attributes: Map<string, Value>
  readonly call: ((args: Arguments) => Value) | undefined
  constructor(
    kind: string,
    attributes: Map<string, Value>,
    options: { attribute?: (name: string) => Value | undefined; call?: (args: Arguments) => Value } = {},
  ) {
    this.kind = kind
    this.attributes = attributes
    this.attribute = options.attribute ?? ((name) => attributes.get(name))
    this.call = options.call
  }
}

export class PyFunction {
  readonly name: string
  readonly call: (args: Arguments) => Value
  constructor(name: string, call: (args: Arguments) => Value) {
    this.name = name
    this.call = call
  }
}

/** The value of a missing name, attribute or item: empty when printed, an error when used. */
export class Undefined {
  readonly what: string
  constructor(what: string) {
    this.what = what
  }
}

/** The arguments of a call. */
export interface Arguments {
  positional: Value[]
  named: Map<string, Value>
}

/** Integers of Python have no bound; ours are exact up to this one. */
export function integer(value: number): number {
  if (!Number.isSafeInteger(value)) throw new TemplateError('an integer is beyond 2^53')
  return value
}

/** Turns JSON's values into Python's. */
export function fromJson(value: unknown): Value {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : new PyFloat(value)
  if (Array.isArray(value)) return value.map(fromJson)
  if (typeof value === 'object') {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined)
    return new Map(entries.map(([key, item]): [Value, Value] => [key, fromJson(item)]))
  }
  throw new TemplateError(`a template takes no ${typeof value}`)
}

export function typeName(value: Value): string {
  if (value === null) return 'NoneType'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'number') return 'int'
  if (typeof value === 'string') return 'str'
  if (Array.isArray(value)) return 'list'
  if (value instanceof Map) return 'dict'
  if (value instanceof PyFloat) return 'float'
  if (value instanceof PyTuple) return 'tuple'
  if (value instanceof PyRange) return 'range'
  if (value instanceof PyView) return `dict_${value.kind}`
  if (value instanceof PyIterator) return 'generator'
  if (value instanceof PyFunction) return 'function'
  if (value instanceof PyObject) return value.kind
  return 'Undefined'
}

/** Throws for a value that is not there, naming it. */
export function checkDefined(value: Value): void {
  if (value instanceof Undefined) throw new TemplateError(`${value.what} is undefined`)
}

/** The number that a bool, an int or a float is; undefined for all else. */
export function numberOf(value: Value): number | undefined {
  if (typeof value === 'number') return value
  if (typeof value === 'boolean') return value ? 1 : 0
  return value instanceof PyFloat ? value.value : undefined
}

export function isTrue(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false
  if (typeof value === 'string' || Array.isArray(value)) return value.length > 0
  if (value instanceof Map) return value.size > 0
  if (value instanceof PyTuple) return value.items.length > 0
  if (value instanceof PyRange) return value.length > 0
  if (value instanceof PyView) return value.dict.size > 0
  const number = numberOf(value)
  return number === undefined ? true : number !== 0
}

export function isEqual(a: Value, b: Value): boolean {
  if (a === b) return true
  const [x, y] = [numberOf(a), numberOf(b)]
  if (x !== undefined || y !== undefined) return x === y
  if (Array.isArray(a)) return Array.isArray(b) && areEqual(a, b)
  if (a instanceof PyTuple) return b instanceof PyTuple && areEqual(a.items, b.items)
  if (a instanceof Map) return b instanceof Map && areEqualDicts(a, b)
  if (a instanceof PyRange) return b instanceof PyRange && areEqual([...iterate(a)], [...iterate(b)])
  return a instanceof Undefined && b instanceof Undefined
}

function areEqual(a: readonly Value[], b: readonly Value[]): boolean {
  return a.length === b.length && a.every((item, index) => isEqual(item, b[index] as Value))
}

function areEqualDicts(a: Map<Value, Value>, b: Map<Value, Value>): boolean {
  return (
    a.size === b.size && [...a].every(([key, value]) => b.has(key) && isEqual(value, b.get(key) as Value))
  )
}

/** Negative, 0 or positive as `a` sorts before, with or after `b`. Throws where Python does. */
export function compare(a: Value, b: Value): number {
  const [x, y] = [numberOf(a), numberOf(b)]
  if (x !== undefined && y !== undefined) return Math.sign(x - y)
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b)
  if (Array.isArray(a) && Array.isArray(b)) return compareItems(a, b)
  if (a instanceof PyTuple && b instanceof PyTuple) return compareItems(a.items, b.items)
  checkDefined(a)
  checkDefined(b)
  throw new TemplateError(`${typeName(a)} and ${typeName(b)} have no order`)
}

function compareItems(a: readonly Value[], b: readonly Value[]): number {
  for (const [index, item] of a.entries()) {
    const other = b[index]
    if (other === undefined) return 1
    if (!isEqual(item, other)) return compare(item, other)
  }
  return a.length - b.length
}

/** By code points, as Python orders text. */
function compareText(a: string, b: string): number {
  if (a === b) return 0
  const [left, right] = [Array.from(a), Array.from(b)]
  for (const [index, character] of left.entries()) {
    const other = right[index]
    if (other === undefined) return 1
    if (character !== other) return (character.codePointAt(0) ?? 0) - (other.codePointAt(0) ?? 0)
  }
  return left.length - right.length
}

/** The items of a value. Throws for one that has none; what is undefined is empty. */
export function* iterate(value: Value): Generator<Value> {
  if (typeof value === 'string') yield* value
  else if (Array.isArray(value)) yield* value
  else if (value instanceof Map) yield* value.keys()
  else if (value instanceof PyTuple) yield* value.items
  else if (value instanceof PyView || value instanceof PyIterator) yield* value
  else if (value instanceof PyRange) for (let index = 0; index < value.length; index++) yield value.at(index)
  else if (!(value instanceof Undefined)) throw new TemplateError(`${typeName(value)} is not iterable`)
}

export function isIterable(value: Value): boolean {
  return (
    typeof value === 'string' ||
    Array.isArray(value) ||
    [Map, PyTuple, PyView, PyIterator, PyRange, Undefined].some((kind) => value instanceof kind)
  )
}

/** Length in code points, items or entries; undefined where Python has none. */
export function lengthOf(value: Value): number | undefined {
  if (typeof value === 'string') return hasSurrogates(value) ? Array.from(value).length : value.length
  if (Array.isArray(value)) return value.length
  if (value instanceof Map) return value.size
  if (value instanceof PyTuple) return value.items.length
  if (value instanceof PyRange) return value.length
  if (value instanceof PyView) return value.dict.size
  return value instanceof Undefined ? 0 : undefined
}

export function hasSurrogates(text: string): boolean {
  return /[\ud800-\udfff]/.test(text)
}

export function printFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0'
  const [digits = '', power = '0'] = value.toExponential().split('e')
  const exponent = Number(power)
  if (exponent < -4 || exponent >= 16) {
    return `${digits}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
  }
  const plain = exponent < 0 ? plainFraction(digits, exponent) : String(value)
  return plain.includes('.') ? plain : `${plain}.0`
}

/** Writes 1.5e-4 as 0.00015: JavaScript uses an exponent from 1e-7 on only, Python below 1e-4. */
function plainFraction(digits: string, exponent: number): string {
  const sign = digits.startsWith('-') ? '-' : ''
  return `${sign}0.${'0'.repeat(-exponent - 1)}${digits.replace(/[-.]/g, '')}`
}

/** Converts a value as Python's `str` does. */
export function print(value: Value): string {
  if (typeof value === 'string') return value
  if (value instanceof Undefined) return ''
  return represent(value)
}

/** Converts a value as Python's `repr` does. */
export function represent(value: Value): string {
  if (value === null) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'number') return String(value)
  if (typeof value === 'string') return representText(value)
  if (value instanceof PyFloat) return printFloat(value.value)
  if (Array.isArray(value)) return `[${value.map(represent).join(', ')}]`
  if (value instanceof PyTuple) return representTuple(value)
  if (value instanceof Map) return representDict(value)
  if (value instanceof PyRange) return representRange(value)
  if (value instanceof PyView) return `dict_${value.kind}([${[...value].map(represent).join(', ')}])`
  if (value instanceof Undefined) return 'Undefined'
  if (value instanceof PyObject && value.kind === 'namespace') {
    return `<Namespace ${representDict(new Map(value.attributes))}>`
  }
  throw new TemplateError(`what a ${typeName(value)} prints as changes from run to run`)
}

function representTuple({ items }: PyTuple): string {
  return items.length === 1 ? `(${represent(items[0] as Value)},)` : `(${items.map(represent).join(', ')})`
}

function representDict(dict: Map<Value, Value>): string {
  return `{${[...dict].map(([key, value]) => `${represent(key)}: ${represent(value)}`).join(', ')}}`
}

function representRange({ start, stop, step }: PyRange): string {
  return `range(${start}, ${stop}${step === 1 ? '' : `, ${step}`})`
}

const NAMED_ESCAPES: Readonly<Record<string, string>> = {
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\\': '\\\\',
}

function representText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const body = text.replace(/[\\'"]|(?! )[\p{C}\p{Z}]/gu, (character) => {
    if (character === "'" || character === '"') return character === quote ? `\\${character}` : character
    return NAMED_ESCAPES[character] ?? escapeCodePoint(character.codePointAt(0) ?? 0)
  })
  return `${quote}${body}${quote}`
}

function escapeCodePoint(point: number): string {
  if (point <= 0xff) return `\\x${point.toString(16).padStart(2, '0')}`
  return point <= 0xffff
    ? `\\u${point.toString(16).padStart(4, '0')}`
    : `\\U${point.toString(16).padStart(8, '0')}`
}

/** A dict's keys are text, numbers, bools and None; others have no hash that we know. */
export function checkKey(key: Value): Value {
  if (key === null || typeof key === 'string' || typeof key === 'number') return key
  if (typeof key === 'boolean') return key
  throw new TemplateError(`a dict cannot have a key of ${typeName(key)}`)
}
