// Jinja2's tests: what may follow `is`.
import { contains } from './operators.ts'
import {
  compare,
  isEqual,
  isIterable,
  numberOf,
  PyFloat,
  PyFunction,
  PyObject,
  PyRange,
  PyTuple,
  TemplateError,
  print,
  Undefined,
  type Value,
} from './values/values.ts'

type Test = (value: Value, ...args: Value[]) => boolean

const other = (args: readonly Value[]): Value => {
  const [value] = args
  if (value === undefined) throw new TemplateError('a test lacks its argument')
  return value
}

const divisor = (value: Value, by: Value): number => {
  const [number, divisor] = [numberOf(value), numberOf(by)]
  if (number === undefined || divisor === undefined || divisor === 0)
    throw new TemplateError('a test takes numbers')
  return ((number % divisor) + divisor) % divisor
}

const equal: Test = (value, ...args) => isEqual(value, other(args))
const less: Test = (value, ...args) => compare(value, other(args)) < 0
const lessOrEqual: Test = (value, ...args) => compare(value, other(args)) <= 0
const greater: Test = (value, ...args) => compare(value, other(args)) > 0
const greaterOrEqual: Test = (value, ...args) => compare(value, other(args)) >= 0
const notEqual: Test = (value, ...args) => !isEqual(value, other(args))

function isSequence(value: Value): boolean {
  if (typeof value === 'string' || Array.isArray(value)) return true
  return [Map, PyTuple, PyRange, Undefined].some((kind) => value instanceof kind)
}

function isSame(value: Value, ...args: Value[]): boolean {
  const wanted = other(args)
  if (value instanceof Undefined && wanted instanceof Undefined) return false
  return value === wanted
}

export const TESTS: Readonly<Record<string, Test>> = {
  boolean: (value) => typeof value === 'boolean',
  callable: (value) => value instanceof PyFunction || (value instanceof PyObject && value.call !== undefined),
  defined: (value) => !(value instanceof Undefined),
  divisibleby: (value, ...args) => divisor(value, other(args)) === 0,
  even: (value) => divisor(value, 2) === 0,
  odd: (value) => divisor(value, 2) === 1,
  false: (value) => value === false,
  true: (value) => value === true,
  float: (value) => value instanceof PyFloat,
  integer: (value) => typeof value === 'number',
  number: (value) => numberOf(value) !== undefined,
  string: (value) => typeof value === 'string',
  mapping: (value) => value instanceof Map,
  none: (value) => value === null,
  undefined: (value) => value instanceof Undefined,
  iterable: isIterable,
  sequence: isSequence,
  lower: (value) => isOneCase(print(value), (text) => text.toLowerCase()),
  upper: (value) => isOneCase(print(value), (text) => text.toUpperCase()),
  sameas: isSame,
  in: (value, ...args) => contains(other(args), value),
  eq: equal,
  equalto: equal,
  '==': equal,
  ne: notEqual,
  '!=': notEqual,
  lt: less,
  lessthan: less,
  '<': less,
  le: lessOrEqual,
  '<=': lessOrEqual,
  gt: greater,
  greaterthan: greater,
  '>': greater,
  ge: greaterOrEqual,
  '>=': greaterOrEqual,
}

function isOneCase(text: string, change: (text: string) => string): boolean {
  return change(text) === text && text.toUpperCase() !== text.toLowerCase()
}
