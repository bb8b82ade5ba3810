// Attributes, items and slices of values, as the sandbox of transformers lets templates have them.
import { bind, int } from './arguments.ts'
import type { Fuel } from './fuel.ts'
import { TEXT_METHODS } from './text-methods.ts'
import {
  checkDefined,
  checkKey,
  hasSurrogates,
  isEqual,
  iterate,
  lengthOf,
  numberOf,
  PyFloat,
  PyFunction,
  PyObject,
  PyRange,
  PyTuple,
  PyView,
  TemplateError,
  typeName,
  Undefined,
  type Arguments,
  type Value,
} from './values/values.ts'

/** `value.name`: Python's attribute, and where there is none, the item. */
export function attributeOf(value: Value, name: string, fuel: Fuel): Value {
  if (value instanceof Undefined && name.startsWith('__')) return new Undefined(name)
  checkDefined(value)
  const attribute = pythonAttribute(value, name, fuel)
  if (attribute !== undefined) return attribute
  const item = value instanceof Map ? value.get(name) : undefined
  return item ?? (item === null ? null : missing(value, name))
}

/** `value[key]`: the item, and where there is none, Python's attribute. */
export function itemOf(value: Value, key: Value, fuel: Fuel): Value {
  checkDefined(value)
  const item = pythonItem(value, key)
  if (item !== undefined) return item
  if (typeof key !== 'string') return missing(value, key instanceof Undefined ? key.what : key)
  return pythonAttribute(value, key, fuel) ?? missing(value, key)
}

function missing(value: Value, key: Value): Undefined {
  return new Undefined(
    `${typeName(value)} has no ${typeof key === 'string' ? `"${key}"` : 'such item'}, which`,
  )
}

function pythonItem(value: Value, key: Value): Value | undefined {
  if (value instanceof Map) return isKey(key) ? value.get(dictKey(value, key)) : undefined
  const number = key instanceof PyFloat ? undefined : numberOf(key)
  const length = value instanceof PyView || value instanceof PyObject ? undefined : lengthOf(value)
  if (number === undefined || length === undefined) return undefined
  const index = number < 0 ? number + length : number
  if (index < 0 || index >= length) return undefined
  if (typeof value === 'string') return hasSurrogates(value) ? Array.from(value)[index] : value[index]
  if (value instanceof PyRange) return value.at(index)
  return Array.isArray(value) ? value[index] : value instanceof PyTuple ? value.items[index] : undefined
}

function isKey(key: Value): boolean {
  return key === null || ['string', 'number', 'boolean'].includes(typeof key) || key instanceof PyFloat
}

/** The key of `dict` that is equal to this one: 1, 1.0 and True are one key to Python. */
export function dictKey(dict: Map<Value, Value>, key: Value): Value {
  if (dict.has(key) || numberOf(key) === undefined) return key
  for (const known of dict.keys()) if (isEqual(known, key)) return known
  return key
}

/** A method or another attribute; undefined for none. What would change a value is not there. */
function pythonAttribute(value: Value, name: string, fuel: Fuel): Value | undefined {
  if (name.startsWith('__')) return undefined
  if (typeof value === 'string') {
    const method = Object.hasOwn(TEXT_METHODS, name) ? TEXT_METHODS[name] : undefined
    return method && new PyFunction(name, (args) => method(value, args, fuel))
  }
  if (value instanceof Map) return dictMethod(value, name)
  if (Array.isArray(value)) return listMethod(value, name, true)
  if (value instanceof PyTuple) return listMethod(value.items, name, false)
  if (value instanceof PyRange) return rangeAttribute(value, name)
  if (numberOf(value) !== undefined) return numberAttribute(value, name)
  return value instanceof PyObject ? value.attribute(name) : undefined
}

function rangeAttribute(range: PyRange, name: string): Value | undefined {
  if (name === 'start' || name === 'stop' || name === 'step') return range[name]
  return listMethod([...iterate(range)], name, false)
}

function numberAttribute(value: Value, name: string): Value | undefined {
  const number = typeof value === 'boolean' ? Number(value) : value
  const isFloat = value instanceof PyFloat
  if (name === 'real') return number
  if (name === 'imag') return isFloat ? new PyFloat(0) : 0
  if (name === 'numerator' && !isFloat) return number
  return name === 'denominator' && !isFloat ? 1 : undefined
}

function dictMethod(dict: Map<Value, Value>, name: string): Value | undefined {
  const method = (call: (args: Arguments) => Value): PyFunction => new PyFunction(name, call)
  switch (name) {
    case 'items':
    case 'keys':
    case 'values':
      return method((args) => (bind(name, args, []), new PyView(name, dict)))
    case 'get':
      return method((args) => {
        const [key = null, fallback = null] = bind(name, args, ['key', 'default'], 1)
        return dict.get(dictKey(dict, checkKey(key))) ?? (dict.has(dictKey(dict, key)) ? null : fallback)
      })
    case 'copy':
      return method((args) => (bind(name, args, []), new Map(dict)))
    case 'clear':
    case 'pop':
    case 'popitem':
    case 'setdefault':
    case 'update':
      return new Undefined(`"${name}" would change a dict, so it`)
    default:
      return undefined
  }
}

function listMethod(items: readonly Value[], name: string, isList: boolean): Value | undefined {
  const method = (call: (args: Arguments) => Value): PyFunction => new PyFunction(name, call)
  if (name === 'count') {
    return method((args) => {
      const [wanted = null] = bind(name, args, ['value'], 1)
      return items.filter((item) => isEqual(item, wanted)).length
    })
  }
  if (name === 'index') {
    return method((args) => {
      const [wanted = null] = bind(name, args, ['value'], 1)
      const index = items.findIndex((item) => isEqual(item, wanted))
      if (index === -1) throw new TemplateError('index: the item is not in the list')
      return index
    })
  }
  if (!isList) return undefined
  if (name === 'copy') return method((args) => (bind(name, args, []), [...items]))
  const changes = ['append', 'clear', 'extend', 'insert', 'pop', 'remove', 'reverse', 'sort']
  return changes.includes(name) ? new Undefined(`"${name}" would change a list, so it`) : undefined
}

/** `value[start:stop:step]` */
export function sliceOf(value: Value, bounds: readonly Value[], fuel: Fuel): Value {
  checkDefined(value)
  const length = lengthOf(value)
  const isSequence = typeof value === 'string' || Array.isArray(value) || value instanceof PyTuple
  if (length === undefined || !(isSequence || value instanceof PyRange)) {
    throw new TemplateError(`a ${typeName(value)} has no slices`)
  }
  const [start, stop, step = 1] = bounds.map((bound) => (bound === null ? undefined : int('a slice', bound)))
  if (step === 0) throw new TemplateError('a slice has the step 0')
  fuel.spend(length)
  if (typeof value === 'string')
    return indices(length, start, stop, step)
      .map(picker(Array.from(value)))
      .join('')
  if (Array.isArray(value)) return indices(length, start, stop, step).map(picker(value))
  if (value instanceof PyTuple)
    return new PyTuple(indices(length, start, stop, step).map(picker(value.items)))
  return rangeSlice(value, start, stop, step)
}

function rangeSlice(
  range: PyRange,
  start: number | undefined,
  stop: number | undefined,
  step: number,
): PyRange {
  const taken = indices(range.length, start, stop, step)
  const [first = 0] = taken
  const end = taken.length === 0 ? first : (taken.at(-1) ?? 0) + step
  return new PyRange(range.at(first), range.at(end), range.step * step)
}

function picker<T>(items: readonly T[]): (index: number) => T {
  return (index) => items[index] as T
}

function indices(
  length: number,
  start: number | undefined,
  stop: number | undefined,
  step: number,
): number[] {
  const [low, high] = step > 0 ? [0, length] : [-1, length - 1]
  const place = (bound: number | undefined, fallback: number): number => {
    if (bound === undefined) return fallback
    const index = bound < 0 ? bound + length : bound
    return Math.min(high, Math.max(low, index))
  }
  const from = place(start, step > 0 ? low : high)
  const to = place(stop, step > 0 ? high : low)
  const found: number[] = []
  for (let index = from; step > 0 ? index < to : index > to; index += step) found.push(index)
  return found
}
