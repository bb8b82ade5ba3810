// Jinja2's filters, and the `tojson` of transformers.
import { bind, int, text } from './arguments.ts'
import { fixed, formatPercent, pad } from './formatting.ts'
import type { Fuel } from './fuel.ts'
import { SPACE } from './lexer.ts'
import { attributeOf, itemOf } from './members.ts'
import { operate } from './operators.ts'
import { capitalize, LINE_BREAK, replace, strip } from './text-methods.ts'
import { toJson } from './to-json.ts'
import {
  checkDefined,
  compare,
  integer,
  isEqual,
  isIterable,
  isTrue,
  iterate,
  lengthOf,
  numberOf,
  print,
  PyFloat,
  PyIterator,
  PyObject,
  PyTuple,
  TemplateError,
  typeName,
  Undefined,
  type Arguments,
  type Value,
} from './values.ts'

/** Services of the rendering that filters may use. */
export interface FilterEnvironment {
  fuel: Fuel
  filter(name: string, value: Value, args: Arguments): Value
  test(name: string, value: Value, args: Arguments): boolean
}

type Filter = (value: Value, args: Arguments, environment: FilterEnvironment) => Value

/** The items of a value, each at its price. */
function itemsOf(value: Value, fuel: Fuel): Value[] {
  const items: Value[] = []
  for (const item of iterate(value)) {
    fuel.step()
    items.push(item)
  }
  return items
}

/** `a.b.0` as a path, which `attribute=` of several filters takes. */
function follow(value: Value, path: Value, fuel: Fuel): Value {
  const parts = typeof path === 'string' ? path.split('.') : [path]
  return parts.reduce<Value>((part, key) => {
    return itemOf(part, typeof key === 'string' && /^\d+$/.test(key) ? Number(key) : key, fuel)
  }, value)
}

function sortKey(path: Value | undefined, isCaseSensitive: boolean, fuel: Fuel): (item: Value) => Value {
  const fold = (value: Value): Value =>
    typeof value === 'string' && !isCaseSensitive ? value.toLowerCase() : value
  return (item) => fold(path === undefined || path === null ? item : follow(item, path, fuel))
}

function sorted(items: Value[], keyOf: (item: Value) => Value, isReversed: boolean): Value[] {
  const keyed = items.map((item) => ({ item, key: keyOf(item) }))
  // Python keeps the order of equals when it sorts in reverse, too.
  keyed.sort((a, b) => (isReversed ? compare(b.key, a.key) : compare(a.key, b.key)))
  return keyed.map(({ item }) => item)
}

function sort(value: Value, args: Arguments, { fuel }: FilterEnvironment): Value {
  const [reverse = false, caseSensitive = false, attribute] = bind('sort', args, [
    'reverse',
    'case_sensitive',
    'attribute',
  ])
  const items = itemsOf(value, fuel)
  const paths = typeof attribute === 'string' ? attribute.split(',') : [attribute]
  const keys = paths.map((path) => sortKey(path, isTrue(caseSensitive), fuel))
  // A list of keys, as Jinja2 has it: of two that are undefined neither is asked for its order.
  const keyOf = (item: Value): Value => new PyTuple(keys.map((key) => key(item)))
  return sorted(items, keyOf, isTrue(reverse))
}

function dictSort(value: Value, args: Arguments): Value {
  const [caseSensitive = false, by = 'key', reverse = false] = bind('dictsort', args, [
    'case_sensitive',
    'by',
    'reverse',
  ])
  if (!(value instanceof Map)) throw new TemplateError(`dictsort takes a dict, not ${typeName(value)}`)
  if (by !== 'key' && by !== 'value') throw new TemplateError('dictsort: by is "key" or "value"')
  const items = [...value].map(([key, item]) => new PyTuple([key, item]))
  const fold = (item: Value): Value =>
    typeof item === 'string' && !isTrue(caseSensitive) ? item.toLowerCase() : item
  return sorted(
    items,
    (item) => fold((item as PyTuple).items[by === 'key' ? 0 : 1] as Value),
    isTrue(reverse),
  )
}

function extreme(sign: 1 | -1): Filter {
  return (value, args, { fuel }) => {
    const [caseSensitive = false, attribute] = bind('min', args, ['case_sensitive', 'attribute'])
    const keyOf = sortKey(attribute, isTrue(caseSensitive), fuel)
    const items = itemsOf(value, fuel)
    const [first] = items
    if (first === undefined) return new Undefined('the largest or smallest of no items')
    return items
      .slice(1)
      .reduce((best, item) => (compare(keyOf(item), keyOf(best)) * sign > 0 ? item : best), first)
  }
}

function map(value: Value, args: Arguments, environment: FilterEnvironment): Value {
  const attribute = args.named.get('attribute')
  const [name, ...rest] = args.positional
  if (attribute !== undefined && name === undefined) {
    const fallback = args.named.get('default')
    return lazily(value, environment.fuel, (item) => {
      const found = follow(item, attribute, environment.fuel)
      return found instanceof Undefined && fallback !== undefined ? fallback : found
    })
  }
  const filter = text('map', name)
  const inner = { positional: rest, named: args.named }
  return lazily(value, environment.fuel, (item) => environment.filter(filter, item, inner))
}

function lazily(value: Value, fuel: Fuel, change: (item: Value) => Value): PyIterator {
  return new PyIterator(
    (function* () {
      if (!isTrue(value)) return
      for (const item of iterate(value)) {
        fuel.step()
        yield change(item)
      }
    })(),
  )
}

function choose(wanted: boolean, byAttribute: boolean): Filter {
  return (value, args, environment) => {
    const [path, ...others] = byAttribute ? args.positional : [null, ...args.positional]
    const [name, ...rest] = others
    if (byAttribute && path === undefined) throw new TemplateError('selectattr lacks its attribute')
    const inner = { positional: rest, named: args.named }
    const passes = (item: Value): boolean => {
      const tested = byAttribute ? follow(item, path as Value, environment.fuel) : item
      return name === undefined ? isTrue(tested) : environment.test(text('select', name), tested, inner)
    }
    return new PyIterator(
      (function* () {
        if (!isTrue(value)) return
        for (const item of iterate(value)) {
          environment.fuel.step()
          if (passes(item) === wanted) yield item
        }
      })(),
    )
  }
}

function joined(value: Value, args: Arguments, { fuel }: FilterEnvironment): Value {
  const [by = '', attribute] = bind('join', args, ['d', 'attribute'])
  const parts = itemsOf(value, fuel).map((item) =>
    print(attribute === undefined || attribute === null ? item : follow(item, attribute, fuel)),
  )
  const separator = print(by)
  fuel.spend(parts.reduce((sum, part) => sum + part.length + separator.length, 0))
  return parts.join(separator)
}

function indent(value: Value, args: Arguments, { fuel }: FilterEnvironment): Value {
  const [width = 4, first = false, blank = false] = bind('indent', args, ['width', 'first', 'blank'])
  const space = typeof width === 'string' ? width : pad('', int('indent', width), ' ', 'left')
  // Jinja2 adds a line break, so that splitting into lines loses none.
  const source = `${text('indent', value)}\n`
  const lines = source.split(LINE_BREAK).slice(0, -1)
  fuel.spend(source.length + lines.length * space.length)
  const body = isTrue(blank)
    ? lines.join(`\n${space}`)
    : lines.map((line, index) => (index > 0 && line !== '' ? space + line : line)).join('\n')
  return isTrue(first) ? space + body : body
}

function truncate(value: Value, args: Arguments): Value {
  const [most = 255, killWords = false, end = '...', leeway = 5] = bind('truncate', args, [
    'length',
    'killwords',
    'end',
    'leeway',
  ])
  const [size, tail] = [int('truncate', most), text('truncate', end)]
  if (size < tail.length) throw new TemplateError('truncate: the length is less than that of the end')
  if (length(value, { positional: [], named: new Map() }) <= size + int('truncate', leeway)) return value
  const characters = Array.from(text('truncate', value))
  const kept = characters.slice(0, size - tail.length).join('')
  if (isTrue(killWords)) return kept + tail
  const cut = kept.lastIndexOf(' ')
  return (cut === -1 ? kept : kept.slice(0, cut)) + tail
}

const WORD_START = new RegExp(`([-\\s({\\[<]+)`.replace('\\s', SPACE.slice(1, -1)), 'u')

function title(value: Value): Value {
  return print(value)
    .split(WORD_START)
    .map((part) => {
      const [first = '', ...rest] = part
      return first.toUpperCase() + rest.join('').toLowerCase()
    })
    .join('')
}

function toInteger(value: Value, args: Arguments): Value {
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

function toFloat(value: Value, args: Arguments): Value {
  const [fallback = new PyFloat(0)] = bind('float', args, ['default'])
  checkDefined(value)
  const number = numberOf(value) ?? (typeof value === 'string' ? parseFloatText(value) : undefined)
  return number === undefined ? fallback : new PyFloat(number)
}

function round(value: Value, args: Arguments): Value {
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

function groupBy(value: Value, args: Arguments, { fuel }: FilterEnvironment): Value {
  const [attribute, fallback, caseSensitive = false] = bind(
    'groupby',
    args,
    ['attribute', 'default', 'case_sensitive'],
    1,
  )
  const rawKey = (item: Value): Value => {
    const found = follow(item, attribute as Value, fuel)
    return found instanceof Undefined && fallback !== undefined ? fallback : found
  }
  const fold = (key: Value): Value =>
    typeof key === 'string' && !isTrue(caseSensitive) ? key.toLowerCase() : key
  const keyOf = (item: Value): Value => fold(rawKey(item))
  const groups: { key: Value; grouper: Value; list: Value[] }[] = []
  for (const item of sorted(itemsOf(value, fuel), keyOf, false)) {
    const last = groups.at(-1)
    if (last !== undefined && isEqual(last.key, keyOf(item))) last.list.push(item)
    else groups.push({ key: keyOf(item), grouper: rawKey(item), list: [item] })
  }
  return groups.map(({ grouper, list }) => new Group(grouper, list))
}

/** A pair that also has the names `grouper` and `list`. */
class Group extends PyTuple {
  readonly names: PyObject
  constructor(grouper: Value, list: Value) {
    super([grouper, list])
    this.names = new PyObject(
      'group',
      new Map([
        ['grouper', grouper],
        ['list', list],
      ]),
    )
  }
}

/** `grouper` and `list` of a group; undefined for anything else. */
export function groupAttribute(value: Value, name: string): Value | undefined {
  return value instanceof Group ? value.names.attribute(name) : undefined
}

function unique(value: Value, args: Arguments, { fuel }: FilterEnvironment): Value {
  const [caseSensitive = false, attribute] = bind('unique', args, ['case_sensitive', 'attribute'])
  const keyOf = sortKey(attribute, isTrue(caseSensitive), fuel)
  const seen: Value[] = []
  return new PyIterator(
    itemsOf(value, fuel).filter((item) => {
      const key = keyOf(item)
      checkHashable(key)
      if (seen.some((other) => (fuel.step(), isEqual(other, key)))) return false
      seen.push(key)
      return true
    }),
  )
}

function checkHashable(value: Value): void {
  if (Array.isArray(value) || value instanceof Map) throw new TemplateError(`a ${typeName(value)} is no key`)
  if (value instanceof PyTuple) value.items.forEach(checkHashable)
}

function batch(value: Value, args: Arguments, { fuel }: FilterEnvironment): Value {
  const [count, fill] = bind('batch', args, ['linecount', 'fill_with'], 1)
  const size = int('batch', count)
  const rows: Value[][] = []
  for (const item of itemsOf(value, fuel)) {
    const last = rows.at(-1)
    if (last === undefined || last.length === size) rows.push([item])
    else last.push(item)
  }
  const last = rows.at(-1)
  if (last !== undefined && fill !== undefined && fill !== null) {
    fuel.spend(Math.max(0, size - last.length))
    while (last.length < size) last.push(fill)
  }
  return new PyIterator(rows)
}

function slices(value: Value, args: Arguments, { fuel }: FilterEnvironment): Value {
  const [count, fill] = bind('slice', args, ['slices', 'fill_with'], 1)
  const items = itemsOf(value, fuel)
  const number = int('slice', count)
  if (number < 1) throw new TemplateError('slice takes a positive number')
  fuel.spend(number)
  const [size, longer] = [Math.floor(items.length / number), items.length % number]
  let place = 0
  return new PyIterator(
    Array.from({ length: number }, (_, index) => {
      const end = place + size + (index < longer ? 1 : 0)
      const row = items.slice(place, end)
      place = end
      if (fill !== undefined && fill !== null && index >= longer) row.push(fill)
      return row
    }),
  )
}

function sum(value: Value, args: Arguments, { fuel }: FilterEnvironment): Value {
  const [attribute, start = 0] = bind('sum', args, ['attribute', 'start'])
  const parts = itemsOf(value, fuel).map((item) =>
    attribute === undefined || attribute === null ? item : follow(item, attribute, fuel),
  )
  if (typeof start === 'string') throw new TemplateError('sum takes no text')
  return parts.reduce((total, part) => operate('+', total, part, fuel), start)
}

function defaultTo(value: Value, args: Arguments): Value {
  const [fallback = '', boolean = false] = bind('default', args, ['default_value', 'boolean'])
  return value instanceof Undefined || (isTrue(boolean) && !isTrue(value)) ? fallback : value
}

function length(value: Value, args: Arguments): number {
  bind('length', args, [])
  const size = lengthOf(value)
  if (size === undefined) throw new TemplateError(`a ${typeName(value)} has no length`)
  return size
}

function last(value: Value, _args: Arguments, { fuel }: FilterEnvironment): Value {
  if (value instanceof PyIterator) throw new TemplateError('a generator has no last item')
  return itemsOf(value, fuel).at(-1) ?? new Undefined('the last of no items')
}

function first(value: Value): Value {
  for (const item of iterate(value)) return item
  return new Undefined('the first of no items')
}

function reverse(value: Value, _args: Arguments, { fuel }: FilterEnvironment): Value {
  if (typeof value === 'string') return Array.from(value).toReversed().join('')
  return new PyIterator(itemsOf(value, fuel).toReversed())
}

function items(value: Value): Value {
  if (value instanceof Undefined) return new PyIterator([])
  if (!(value instanceof Map)) throw new TemplateError(`items takes a dict, not ${typeName(value)}`)
  return new PyIterator([...value].map(([key, item]) => new PyTuple([key, item])))
}

function absolute(value: Value): Value {
  const number = numberOf(value)
  if (number === undefined) throw new TemplateError(`abs takes a number, not ${typeName(value)}`)
  return value instanceof PyFloat ? new PyFloat(Math.abs(number)) : Math.abs(number)
}

/** As `urllib.parse.quote`: letters, digits and `_.-~/` stay. */
function urlEncode(value: Value): Value {
  const quote = (part: string, safe: string): string =>
    encodeURIComponent(part)
      .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
      .replaceAll('%2F', safe)
  if (typeof value === 'string' || !isIterable(value)) return quote(print(value), '/')
  const pairs = value instanceof Map ? [...value] : [...iterate(value)].map((pair) => [...iterate(pair)])
  if (pairs.some(({ length }) => length !== 2)) throw new TemplateError('urlencode takes pairs')
  const quoted = (part: Value): string => quote(print(part), '%2F').replaceAll('%20', '+')
  return pairs.map((pair) => pair.map(quoted).join('=')).join('&')
}

const onText =
  (change: (value: string, args: Arguments, fuel: Fuel) => Value): Filter =>
  (value, args, { fuel }) => {
    const source = print(value)
    fuel.spend(source.length)
    return change(source, args, fuel)
  }

export const FILTERS: Readonly<Record<string, Filter>> = {
  abs: absolute,
  attr: (value, args, { fuel }) => {
    const [name] = bind('attr', args, ['name'], 1)
    const found = value instanceof Map ? undefined : attributeOf(value, text('attr', name), fuel)
    return found ?? new Undefined('an attribute')
  },
  batch,
  capitalize: onText(capitalize),
  center: onText((value, args) => {
    const [width = 80] = bind('center', args, ['width'])
    return pad(value, int('center', width), ' ', 'center')
  }),
  count: length,
  d: defaultTo,
  default: defaultTo,
  dictsort: dictSort,
  first,
  float: toFloat,
  format: (value, args, { fuel }) => {
    if (args.named.size > 0 && args.positional.length > 0)
      throw new TemplateError('format takes names or positions')
    const values = args.named.size > 0 ? new Map<Value, Value>(args.named) : new PyTuple(args.positional)
    const source = print(value)
    fuel.spend(source.length)
    return formatPercent(source, values)
  },
  groupby: groupBy,
  indent,
  int: toInteger,
  items,
  join: joined,
  last,
  length,
  list: (value, _args, { fuel }) => itemsOf(value, fuel),
  lower: onText((value) => value.toLowerCase()),
  map,
  max: extreme(1),
  min: extreme(-1),
  reject: choose(false, false),
  rejectattr: choose(false, true),
  replace: onText((value, args, fuel) => {
    const [from = null, to = null, count] = bind('replace', args, ['old', 'new', 'count'], 2)
    const limit = count === undefined || count === null ? -1 : int('replace', count)
    return replace(value, print(from), print(to), { limit, fuel })
  }),
  reverse,
  round,
  select: choose(true, false),
  selectattr: choose(true, true),
  slice: slices,
  sort,
  string: onText((value) => value),
  sum,
  title: (value, _args, { fuel }) => (fuel.spend(print(value).length), title(value)),
  tojson: (value, args, { fuel }) => {
    const names = ['ensure_ascii', 'indent', 'separators', 'sort_keys']
    const [ascii = false, indent = null, separators = null, sortKeys = false] = bind('tojson', args, names)
    const json = toJson(value, {
      isAscii: isTrue(ascii),
      indent,
      separators,
      sortsKeys: isTrue(sortKeys),
      fuel,
    })
    return json
  },
  trim: onText((value, args) => strip(value, bind('trim', args, ['chars'])[0], 'both')),
  truncate,
  unique,
  upper: onText((value) => value.toUpperCase()),
  urlencode: urlEncode,
  wordcount: onText((value) => value.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0),
}
