// Python's `%` and `str.format`: the parts of them that print text and numbers.
import {
  isTrue,
  numberOf,
  print,
  printFloat,
  PyFloat,
  PyRange,
  PyTuple,
  represent,
  TemplateError,
  typeName,
  type Arguments,
  type Value,
} from './values/values.ts'

const WIDTH_MAX = 1_000_000

export function pad(self: string, width: number, fill: string, side: 'left' | 'right' | 'center'): string {
  if (Array.from(fill).length !== 1) throw new TemplateError('the fill character must be one character')
  if (width > WIDTH_MAX) throw new TemplateError(`a text cannot be padded to ${width} characters`)
  const missing = width - Array.from(self).length
  if (missing <= 0) return self
  if (side === 'left') return fill.repeat(missing) + self
  if (side === 'right') return self + fill.repeat(missing)
  // As CPython divides the rest of an odd number.
  const left = Math.floor(missing / 2) + (missing & width & 1)
  return fill.repeat(left) + self + fill.repeat(missing - left)
}

const PERCENT = /%(?:\(([^)]*)\))?([-+ 0#]*)(\d+|\*)?(?:\.(\d+))?([a-zA-Z%])/g

/** `'%s of %d' % (a, b)` */
export function formatPercent(format: string, values: Value): string {
  const items = values instanceof PyTuple ? values.items : [values]
  let used = 0
  const result = format.replace(PERCENT, (_whole: string, ...groups: (string | undefined)[]) => {
    const [name, flags = '', width, precision, type = ''] = groups
    if (type === '%') return '%'
    if (width === '*') throw new TemplateError('"%*" is not supported')
    const value = name === undefined ? items[used++] : namedValue(values, name)
    if (value === undefined) throw new TemplateError('not enough arguments for the format string')
    const digits = precision === undefined ? undefined : Number(precision)
    return padPercent(percentBody(value, type, flags, digits), flags, Number(width ?? 0), type)
  })
  // Whatever has items by key counts as a mapping, and those may stay unused.
  const isMapping = values instanceof Map || values instanceof PyRange || Array.isArray(values)
  const takesAll = isMapping || used === items.length
  if (!takesAll) throw new TemplateError('not all arguments are used by the format string')
  return result
}

function namedValue(values: Value, name: string): Value {
  const value = values instanceof Map ? values.get(name) : undefined
  if (value === undefined) throw new TemplateError(`the format needs "${name}"`)
  return value
}

function percentBody(value: Value, type: string, flags: string, precision: number | undefined): string {
  if (type === 's' || type === 'r') {
    const body = type === 's' ? print(value) : represent(value)
    return precision === undefined ? body : Array.from(body).slice(0, precision).join('')
  }
  if (type === 'c') return percentCharacter(value)
  const number = numberOf(value)
  if (number === undefined) throw new TemplateError(`%${type} takes a number, not ${typeName(value)}`)
  return signed(
    number,
    digitsOf(number, value, type, precision),
    flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : '',
  )
}

function percentCharacter(value: Value): string {
  if (typeof value === 'number' && value >= 0 && value <= 0x10ffff) return String.fromCodePoint(value)
  if (typeof value === 'string' && Array.from(value).length === 1) return value
  throw new TemplateError('%c takes a character')
}

function padPercent(body: string, flags: string, width: number, type: string): string {
  if (flags.includes('-')) return pad(body, width, ' ', 'right')
  if (!flags.includes('0') || 'src'.includes(type)) return pad(body, width, ' ', 'left')
  const sign = /^[-+ ]/.exec(body)?.[0] ?? ''
  return sign + pad(body.slice(sign.length), width - sign.length, '0', 'left')
}

function signed(number: number, digits: string, plus: string): string {
  const isNegative = number < 0 || Object.is(number, -0)
  return isNegative ? `-${digits}` : plus + digits
}

/** The digits of a number without its sign. */
function digitsOf(number: number, value: Value, type: string, precision = 6): string {
  const size = Math.abs(number)
  switch (type) {
    case 'd':
    case 'i':
    case 'u':
      return String(Math.trunc(size))
    case 'x':
      return wholeOf(size, value, type).toString(16)
    case 'X':
      return wholeOf(size, value, type).toString(16).toUpperCase()
    case 'o':
      return wholeOf(size, value, type).toString(8)
    case 'b':
      return wholeOf(size, value, type).toString(2)
    case 'f':
    case 'F':
      return fixed(size, precision)
    case 'e':
    case 'E':
      return exponential(size, precision, type)
    case '%':
      return `${fixed(size * 100, precision)}%`
    default:
      throw new TemplateError(`the format type "${type}" is not supported`)
  }
}

function wholeOf(size: number, value: Value, type: string): number {
  if (value instanceof PyFloat) throw new TemplateError(`%${type} takes an integer, not a float`)
  return size
}

/** Python rounds a tie of the exact binary value to even; toFixed rounds the exact value, ties away from zero. */
export function fixed(size: number, precision: number): string {
  if (precision > 100 || size >= 1e21) throw new TemplateError('a number is too long to be printed')
  // A tie of the exact value has a 5 and nothing after it; 30 more digits tell.
  const digits = size.toFixed(Math.min(100, precision + 30))
  const kept = digits.slice(0, digits.indexOf('.') + 1 + precision)
  const isTie = /^50*$/.test(digits.slice(kept.length))
  const isEven = '02468'.includes(kept.replace(/\.$/, '').at(-1) ?? '')
  return isTie && isEven ? kept.replace(/\.$/, '') : size.toFixed(precision)
}

function exponential(size: number, precision: number, type: string): string {
  const text = size.toExponential(precision).replace(/e([-+])(\d)$/, 'e$10$2')
  return type === 'E' ? text.toUpperCase() : text
}

const FIELD = /\{\{|\}\}|\{([^{}!:]*)(?:!([sr]))?(?::([^{}]*))?\}|[{}]/g
const SPECIFICATION = /^(?:(.)?([<>^]))?([-+ ])?(0)?(\d+)?(,)?(?:\.(\d+))?([a-zA-Z%])?$/su

/** `'{} of {name}'.format(a, name=b)` */
export function formatBraces(format: string, args: Arguments): string {
  let used = 0
  return format.replace(FIELD, (whole, field?: string, conversion?: string, specification = '') => {
    if (whole === '{{') return '{'
    if (whole === '}}') return '}'
    if (field === undefined) throw new TemplateError('a brace of the format stands alone')
    const value = fieldValue(field === '' ? String(used++) : field, args)
    const shown = conversion === undefined ? value : conversion === 's' ? print(value) : represent(value)
    return formatValue(shown, specification as string)
  })
}

function fieldValue(field: string, { positional, named }: Arguments): Value {
  const value = /^\d+$/.test(field) ? positional[Number(field)] : named.get(field)
  if (value === undefined) throw new TemplateError(`the format has no value for "${field}"`)
  return value
}

function formatValue(value: Value, specification: string): string {
  if (specification === '') return print(value)
  const parts = SPECIFICATION.exec(specification)
  if (parts === null) throw new TemplateError(`the format "${specification}" is not supported`)
  const [, fill, align, sign, zero, width = '0', comma, precision, type] = parts
  const digits = precision === undefined ? undefined : Number(precision)
  const number = numberOf(value)
  const isText = typeof value === 'string'
  if (!isText && (number === undefined || typeof value === 'boolean')) {
    throw new TemplateError(`the format "${specification}" is not supported for ${typeName(value)}`)
  }
  const body = isText
    ? digits === undefined
      ? value
      : Array.from(value).slice(0, digits).join('')
    : numberBody(value, { sign, comma, digits, type })
  const side = align ?? (isText ? '<' : '>')
  if (zero !== undefined && align === undefined)
    return padPercent(body, '0', Number(width), isText ? 's' : 'd')
  const sides = { '<': 'right', '>': 'left', '^': 'center' } as const
  return padAligned(body, Number(width), fill ?? ' ', sides[side as '<' | '>' | '^'])
}

/** Unlike `str.center`, a format puts the odd space on the right. */
function padAligned(body: string, width: number, fill: string, side: 'left' | 'right' | 'center'): string {
  if (side !== 'center') return pad(body, width, fill, side)
  const missing = Math.max(0, width - Array.from(body).length)
  return pad(pad(body, width - Math.ceil(missing / 2), fill, 'left'), width, fill, 'right')
}

interface NumberFormat {
  sign: string | undefined
  comma: string | undefined
  digits: number | undefined
  type: string | undefined
}

function numberBody(value: Value, { sign, comma, digits, type }: NumberFormat): string {
  const number = numberOf(value) ?? 0
  const isFloat = value instanceof PyFloat
  if (isFloat && type === undefined && digits !== undefined) {
    throw new TemplateError('a precision without a type is not supported')
  }
  const wanted = type ?? 'd'
  if (isFloat && 'dxXob'.includes(wanted) && type !== undefined) {
    throw new TemplateError(`the format type "${type}" takes an integer`)
  }
  const plain =
    isFloat && type === undefined ? printFloat(Math.abs(number)) : digitsOf(number, value, wanted, digits)
  const grouped =
    comma === undefined ? plain : plain.replace(/^\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ','))
  return signed(number, grouped, isTrue(sign ?? null) && sign !== '-' ? (sign ?? '') : '')
}
