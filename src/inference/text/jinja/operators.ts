// Python's operators.
import { formatPercent } from './formatting.ts'
import type { Fuel } from './fuel.ts'
import type { BinaryOperator } from './reading/ast.ts'
import {
  compare,
  checkDefined,
  integer,
  isEqual,
  iterate,
  lengthOf,
  numberOf,
  print,
  PyFloat,
  PyTuple,
  TemplateError,
  typeName,
  Undefined,
  type Value,
} from './values/values.ts'
import { dictKey } from './members.ts'

export function operate(operator: BinaryOperator, left: Value, right: Value, fuel: Fuel): Value {
  if (operator === '~') return concatenate(print(left), print(right), fuel)
  checkDefined(left)
  if (operator === '%' && typeof left === 'string') {
    fuel.spend(left.length)
    return formatPercent(left, right)
  }
  checkDefined(right)
  if (operator === '+') {
    const sum = add(left, right, fuel)
    if (sum !== undefined) return sum
  }
  if (operator === '*') {
    const product = repeat(left, right, fuel) ?? repeat(right, left, fuel)
    if (product !== undefined) return product
  }
  return calculate(operator, left, right)
}

function concatenate(left: string, right: string, fuel: Fuel): string {
  fuel.spend(left.length + right.length)
  return left + right
}

function add(left: Value, right: Value, fuel: Fuel): Value | undefined {
  if (typeof left === 'string' && typeof right === 'string') return concatenate(left, right, fuel)
  if (Array.isArray(left) && Array.isArray(right)) {
    fuel.spendItems(left.length + right.length)
    return [...left, ...right]
  }
  if (!(left instanceof PyTuple && right instanceof PyTuple)) return undefined
  fuel.spendItems(left.items.length + right.items.length)
  return new PyTuple([...left.items, ...right.items])
}

function repeat(value: Value, by: Value, fuel: Fuel): Value | undefined {
  const count = by instanceof PyFloat ? undefined : numberOf(by)
  const isRepeated = typeof value === 'string' || Array.isArray(value) || value instanceof PyTuple
  if (count === undefined || !isRepeated) return undefined
  const times = Math.max(0, count)
  const length = (lengthOf(value) ?? 0) * times
  if (typeof value === 'string') {
    fuel.spend(length)
    return value.repeat(times)
  }
  fuel.spendItems(length)
  const items = Array.isArray(value) ? value : value.items
  const repeated = Array.from(
    { length: items.length * times },
    (_, index) => items[index % items.length] as Value,
  )
  return Array.isArray(value) ? repeated : new PyTuple(repeated)
}

function calculate(operator: BinaryOperator, left: Value, right: Value): Value {
  const [x, y] = [numberOf(left), numberOf(right)]
  if (x === undefined || y === undefined) {
    throw new TemplateError(`"${operator}" takes no ${typeName(left)} and ${typeName(right)}`)
  }
  const isFloat = left instanceof PyFloat || right instanceof PyFloat
  const isDivision = operator === '/' || operator === '//' || operator === '%'
  if (isDivision && y === 0) throw new TemplateError('division by zero')
  if (operator === '/') return new PyFloat(x / y)
  if (operator === '**' && !isFloat && y < 0) return new PyFloat(x ** y)
  const result = isFloat ? floatArithmetic(operator, x, y) : arithmetic(operator, x, y)
  return isFloat ? new PyFloat(result) : integer(result)
}

/** Python divides floats so that `x == x // y * y + x % y` holds as nearly as it can. */
function floatArithmetic(operator: BinaryOperator, x: number, y: number): number {
  if (operator === '**') return power(x, y)
  if (operator !== '//' && operator !== '%') return arithmetic(operator, x, y)
  const rest = x % y
  const isAdjusted = rest !== 0 && rest < 0 !== y < 0
  if (operator === '%') return isAdjusted ? rest + y : rest === 0 ? (y < 0 ? -0 : 0) : rest
  const quotient = (x - rest) / y - (isAdjusted ? 1 : 0)
  const floor = Math.floor(quotient)
  return quotient - floor > 0.5 ? floor + 1 : floor
}

function power(x: number, y: number): number {
  const result = x ** y
  if (Number.isNaN(result) && !Number.isNaN(x + y)) throw new TemplateError('a power is no real number')
  if (!Number.isFinite(result) && Number.isFinite(x) && Number.isFinite(y))
    throw new TemplateError('a power is too large')
  return result
}

function arithmetic(operator: BinaryOperator, x: number, y: number): number {
  switch (operator) {
    case '+':
      return x + y
    case '-':
      return x - y
    case '*':
      return x * y
    case '**':
      return x ** y
    case '//':
      return Math.floor(x / y) + 0
    case '%': {
      const rest = x % y
      return (rest !== 0 && rest < 0 !== y < 0 ? rest + y : rest) + 0
    }
    default:
      throw new TemplateError(`"${operator}" takes no numbers`)
  }
}

export function negate(value: Value, sign: '-' | '+'): Value {
  checkDefined(value)
  const number = numberOf(value)
  if (number === undefined) throw new TemplateError(`"${sign}" takes no ${typeName(value)}`)
  const signed = sign === '-' ? -number : number
  return value instanceof PyFloat ? new PyFloat(signed) : signed + 0
}

/** `item in container` */
export function contains(container: Value, item: Value): boolean {
  if (typeof container === 'string') {
    if (typeof item !== 'string')
      throw new TemplateError(`"in" takes text, not ${typeName(item)}, before text`)
    return container.includes(item)
  }
  if (container instanceof Map) {
    if (Array.isArray(item) || item instanceof Map) throw new TemplateError('a list or dict is no key')
    return container.has(dictKey(container, item))
  }
  if (container instanceof Undefined) return false
  for (const candidate of iterate(container)) if (isEqual(candidate, item)) return true
  return false
}

/** Whether a comparison is true. */
export function holds(operator: string, left: Value, right: Value): boolean {
  switch (operator) {
    case '==':
      return isEqual(left, right)
    case '!=':
      return !isEqual(left, right)
    case 'in':
      return contains(right, left)
    case 'not in':
      return !contains(right, left)
    case '<':
      return compare(left, right) < 0
    case '<=':
      return compare(left, right) <= 0
    case '>':
      return compare(left, right) > 0
    default:
      return compare(left, right) >= 0
  }
}
