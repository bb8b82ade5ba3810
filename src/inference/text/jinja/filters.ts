// Jinja2's filters, and the `tojson` of transformers.
import { bind, int, text } from './arguments.ts'
import { formatPercent, pad } from './formatting.ts'
import type { Fuel } from './fuel.ts'
import { attributeOf, itemOf } from './members.ts'
import { absolute, length, round, toFloat, toInteger } from './number-filters.ts'
import { operate } from './operators.ts'
import { indent, title, truncate, urlEncode } from './text-filters.ts'
import { capitalize, replace, strip } from './text-methods.ts'
import { toJson } from './to-json.ts'
import {
  compare,
  isEqual,
  isTrue,
  iterate,
  print,
  PyIterator,
  PyObject,
  PyTuple,
  TemplateError,
  typeName,
  Undefined,
  type Arguments,
  type Value,
} from './values/values.ts'

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
