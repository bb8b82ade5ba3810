// Filters that make or change numbers.
import { bind, int } from './arguments.ts'
import { fixed } from './formatting.ts'
import { strip } from './text-methods.ts'
import {
  checkDefined,
  integer,
  lengthOf,
  numberOf,
  PyFloat,
  TemplateError,
  typeName,
  type Arguments,
  type Value,
} from './values/values.ts'

export function toInteger(value: Value, args: Arguments): Value {
  const [fallback = 0, base = 10] = bind('int', args, ['default', 'base'])
  checkDefined(value)
  const number = numberOf(value)
  if (number !== undefined) return Number.isFinite(number) ? integer(Math.trunc(number)) : fallback
  if (typeof value !== 'string') return fallback
  const trimmed = strip(value, undefined, 'both')
  const radix = int('int', base)
  const prefix = { 2: '(?:0[bB])?', 8: '(?:0[oO])?', 16: '(?:0[xX])?' }[radix] ?? ''
  const found = new RegExp(`^([-+]?)${prefix}([0-9a-zA-Z]+(?:_[0-9a-zA-Z]+)*)$`).exec(trimmed)
  const digits = found?.[2]?.replaceAll('_', '') ?? ''
  const isValid = digits !== '' && Array.from(digits).every((digit) => parseInt(digit, 36) < radix)
  if (isValid) return integer(Number(`${found?.[1] === '-' ? '-' : ''}${parseInt(digits, radix)}`)) + 0
  const float = parseFloatText(trimmed)
  return float === undefined || !Number.isFinite(float) ? fallback : integer(Math.trunc(float))
}

/** Converts a text as Python's `float` does. */
function parseFloatText(source: string): number | undefined {
  const trimmed = strip(source, undefined, 'both')
  if (/^[-+]?(?:\d+(?:_\d+)*\.?(?:\d+(?:_\d+)*)?|\.\d+(?:_\d+)*)(?:[eE][-+]?\d+(?:_\d+)*)?$/.test(trimmed)) {
    return Number(trimmed.replaceAll('_', ''))
  }
  const word = /^([-+]?)(inf|infinity|nan)$/i.exec(trimmed)
  if (word === null) return undefined
  const size = word[2]?.toLowerCase() === 'nan' ? Number.NaN : Infinity
  return word[1] === '-' ? -size : size
}

export function toFloat(value: Value, args: Arguments): Value {
  const [fallback = new PyFloat(0)] = bind('float', args, ['default'])
  checkDefined(value)
  const number = numberOf(value) ?? (typeof value === 'string' ? parseFloatText(value) : undefined)
  return number === undefined ? fallback : new PyFloat(number)
}

export function round(value: Value, args: Arguments): Value {
  const [precision = 0, method = 'common'] = bind('round', args, ['precision', 'method'])
  const [number, digits] = [numberOf(value), int('round', precision)]
  if (number === undefined) throw new TemplateError(`round takes a number, not ${typeName(value)}`)
  if (number === value && digits >= 0 && method !== 'common') return new PyFloat(number)
  const scale = 10 ** digits
  if (method === 'ceil') return new PyFloat(Math.ceil(number * scale) / scale)
  if (method === 'floor') return new PyFloat(Math.floor(number * scale) / scale)
  if (method !== 'common') throw new TemplateError('round: the method is common, ceil or floor')
  if (!(value instanceof PyFloat))
    return digits >= 0 ? number : new PyFloat(Math.round(number * scale) / scale)
  const size = Math.abs(number)
  const rounded =
    digits >= 0 ? Number(fixed(size, Math.min(digits, 100))) : Number(fixed(size * scale, 0)) / scale
  return new PyFloat(number < 0 || Object.is(number, -0) ? -rounded : rounded)
}

export function absolute(value: Value): Value {
  const number = numberOf(value)
  if (number === undefined) throw new TemplateError(`abs takes a number, not ${typeName(value)}`)
  return value instanceof PyFloat ? new PyFloat(Math.abs(number)) : Math.abs(number)
}

export function length(value: Value, args: Arguments): number {
  bind('length', args, [])
  const size = lengthOf(value)
  if (size === undefined) throw new TemplateError(`a ${typeName(value)} has no length`)
  return size
}
