// The methods of Python's `str`.
import { bind, int, text } from './arguments.ts'
import { formatBraces, pad } from './formatting.ts'
import type { Fuel } from './fuel.ts'
import { SPACE } from './reading/lexer.ts'
import {
  hasSurrogates,
  isTrue,
  iterate,
  PyTuple,
  TemplateError,
  typeName,
  type Arguments,
  type Value,
} from './values/values.ts'

type Method = (self: string, args: Arguments, fuel: Fuel) => Value

const LEFT_SPACE = new RegExp(`^${SPACE}+`)
const RIGHT_SPACE = new RegExp(`${SPACE}+$`)
// oxlint-disable-next-line no-control-regex -- some of Python's line breaks are control characters
export const LINE_BREAK: RegExp = new RegExp('\\r\\n|[\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029]', 'g')

/** Trims characters of `set`, or white space. */
export function strip(self: string, set: Value | undefined, side: 'left' | 'right' | 'both'): string {
  if (set === undefined || set === null) {
    const left = side === 'right' ? self : self.replace(LEFT_SPACE, '')
    return side === 'left' ? left : trimEndSpace(left)
  }
  const wanted = new Set(text('strip', set))
  const characters = Array.from(self)
  let [start, end] = [0, characters.length]
  if (side !== 'right') while (start < end && wanted.has(characters[start] ?? '')) start += 1
  if (side !== 'left') while (end > start && wanted.has(characters[end - 1] ?? '')) end -= 1
  return characters.slice(start, end).join('')
}

/** By hand: a pattern that ends with `$` starts anew at every space of a long text. */
function trimEndSpace(self: string): string {
  let end = self.length
  while (end > 0 && RIGHT_SPACE.test(self.charAt(end - 1))) end -= 1
  return self.slice(0, end)
}

function splitSpaces(self: string, limit: number): string[] {
  const parts: string[] = []
  let rest = strip(self, undefined, 'left')
  const space = new RegExp(`${SPACE}+`, 'g')
  let place = 0
  const partsMax = limit < 0 ? Infinity : limit
  while (place < rest.length && parts.length < partsMax) {
    space.lastIndex = place
    const found = space.exec(rest)
    if (found === null) break
    parts.push(rest.slice(place, found.index))
    place = found.index + found[0].length
  }
  rest = rest.slice(place)
  if (parts.length !== limit) rest = trimEndSpace(rest)
  if (rest !== '') parts.push(rest)
  return parts
}

function splitSpacesRight(self: string, limit: number): string[] {
  if (limit < 0) return splitSpaces(self, -1)
  const parts: string[] = []
  let rest = trimEndSpace(self)
  const last = new RegExp(`${SPACE}+(?=[^]*$)`)
  while (rest !== '' && parts.length < limit) {
    let start = rest.length
    while (start > 0 && !last.test(rest.charAt(start - 1))) start -= 1
    parts.unshift(rest.slice(start))
    rest = trimEndSpace(rest.slice(0, start))
  }
  if (parts.length !== limit) rest = strip(rest, undefined, 'left')
  if (rest !== '') parts.unshift(rest)
  return parts
}

function split(self: string, args: Arguments, fromRight: boolean): Value {
  const [by, max] = bind('split', args, ['sep', 'maxsplit'])
  const limit = max === undefined ? -1 : int('split', max)
  if (by === undefined || by === null)
    return fromRight ? splitSpacesRight(self, limit) : splitSpaces(self, limit)
  const separator = text('split', by)
  if (separator === '') throw new TemplateError('split: empty separator')
  const parts = self.split(separator)
  if (limit < 0 || parts.length <= limit + 1) return parts
  if (fromRight) {
    const head = parts.slice(0, parts.length - limit).join(separator)
    return [head, ...parts.slice(parts.length - limit)]
  }
  return [...parts.slice(0, limit), parts.slice(limit).join(separator)]
}

function splitLines(self: string, args: Arguments): Value {
  const [keeps] = bind('splitlines', args, ['keepends'])
  const lines: string[] = []
  let place = 0
  for (const found of self.matchAll(LINE_BREAK)) {
    const end = found.index + found[0].length
    lines.push(self.slice(place, keeps !== undefined && isTrue(keeps) ? end : found.index))
    place = end
  }
  if (place < self.length) lines.push(self.slice(place))
  return lines
}

/** Replaces as Python does, from the left, `limit` times at most when it is not negative. */
export function replace(
  self: string,
  from: string,
  to: string,
  { limit, fuel }: { limit: number; fuel: Fuel },
): string {
  const parts = from === '' ? ['', ...Array.from(self), ''] : self.split(from)
  const count = limit < 0 ? parts.length - 1 : Math.min(limit, parts.length - 1)
  fuel.spend(self.length + count * to.length)
  const head = parts.slice(0, count + 1).join(to)
  return count === parts.length - 1 ? head : [head, ...parts.slice(count + 1)].join(from)
}

function startsOrEnds(self: string, args: Arguments, test: (self: string, affix: string) => boolean): Value {
  const [affix, start, end] = bind('startswith', args, ['prefix', 'start', 'end'], 1)
  const part = between(self, start, end)
  if (affix instanceof PyTuple) return affix.items.some((item) => test(part, text('startswith', item)))
  return test(part, text('startswith', affix))
}

function between(self: string, start: Value | undefined, end: Value | undefined): string {
  const [from, to] = bounds(self, start, end)
  return from === 0 && to === undefined ? self : Array.from(self).slice(from, to).join('')
}

function bounds(
  _self: string,
  start: Value | undefined,
  end: Value | undefined,
): [number, number | undefined] {
  const from = start === undefined || start === null ? 0 : int('start', start)
  return [from, end === undefined || end === null ? undefined : int('end', end)]
}

/** Where a text is, in code points; -1 when it is nowhere. */
function find(self: string, args: Arguments, fromRight: boolean): number {
  const [wanted, start, end] = bind('find', args, ['sub', 'start', 'end'], 1)
  const [from] = bounds(self, start, end)
  const part = between(self, start, end)
  const sub = text('find', wanted)
  const index = fromRight ? part.lastIndexOf(sub) : part.indexOf(sub)
  if (index === -1) return -1
  const length = Array.from(self).length
  const offset = from < 0 ? Math.max(0, length + from) : from
  if (offset > length) return -1
  return offset + (hasSurrogates(part) ? Array.from(part.slice(0, index)).length : index)
}

function count(self: string, args: Arguments): Value {
  const [wanted, start, end] = bind('count', args, ['sub', 'start', 'end'], 1)
  const part = between(self, start, end)
  const sub = text('count', wanted)
  return sub === '' ? Array.from(part).length + 1 : part.split(sub).length - 1
}

function found(self: string, args: Arguments, fromRight: boolean): Value {
  const index = find(self, args, fromRight)
  if (index === -1) throw new TemplateError('index: substring not found')
  return index
}

/** Letters that are two in one have a form of their own for the start of a word. */
const TITLE_FORMS: Readonly<Record<string, string>> = { Ǆ: 'ǅ', Ǉ: 'ǈ', Ǌ: 'ǋ', Ǳ: 'ǲ' }

/** A character as it begins a word: 'ß' becomes 'Ss'. */
function titleCase(character: string): string {
  if (/^\p{Lt}$/u.test(character)) return character
  const upper = character.toUpperCase()
  const [first = '', ...rest] = upper
  return TITLE_FORMS[upper] ?? first + rest.join('').toLowerCase()
}

export function capitalize(self: string): string {
  const [first = '', ...rest] = self
  return titleCase(first) + rest.join('').toLowerCase()
}

const IS_CASED = /[\p{Lt}\p{Uppercase}\p{Lowercase}]/u

function title(self: string): string {
  let follows = false
  let result = ''
  for (const character of self) {
    result += follows ? character.toLowerCase() : titleCase(character)
    follows = IS_CASED.test(character)
  }
  return result
}

function swapCase(self: string): string {
  return Array.from(self)
    .map((character) =>
      character === character.toUpperCase() ? character.toLowerCase() : character.toUpperCase(),
    )
    .join('')
}

function padding(side: 'left' | 'right' | 'center'): Method {
  return (self, args) => {
    const [width, fill = ' '] = bind('padding', args, ['width', 'fillchar'], 1)
    return pad(self, int('padding', width), text('padding', fill), side)
  }
}

function zeroFill(self: string, args: Arguments): Value {
  const [width] = bind('zfill', args, ['width'], 1)
  const sign = /^[+-]/.exec(self)?.[0] ?? ''
  return sign + pad(self.slice(sign.length), int('zfill', width) - sign.length, '0', 'left')
}

function partition(self: string, args: Arguments, fromRight: boolean): Value {
  const [by] = bind('partition', args, ['sep'], 1)
  const separator = text('partition', by)
  if (separator === '') throw new TemplateError('partition: empty separator')
  const index = fromRight ? self.lastIndexOf(separator) : self.indexOf(separator)
  if (index === -1) return new PyTuple(fromRight ? ['', '', self] : [self, '', ''])
  return new PyTuple([self.slice(0, index), separator, self.slice(index + separator.length)])
}

export function join(self: string, values: Value, fuel: Fuel): string {
  const parts: string[] = []
  for (const item of iterate(values)) {
    if (typeof item !== 'string') throw new TemplateError(`join takes text, not ${typeName(item)}`)
    fuel.spend(item.length + self.length)
    parts.push(item)
  }
  return parts.join(self)
}

function expandTabs(self: string, args: Arguments): Value {
  const [size = 8] = bind('expandtabs', args, ['tabsize'])
  const width = int('expandtabs', size)
  let column = 0
  let result = ''
  for (const character of self) {
    if (character === '\t') {
      const missing = width > 0 ? width - (column % width) : 0
      result += pad('', missing, ' ', 'left')
      column += missing
    } else {
      result += character
      column = character === '\n' || character === '\r' ? 0 : column + 1
    }
  }
  return result
}

const every =
  (pattern: RegExp): Method =>
  (self, args) => {
    bind('is…', args, [])
    return pattern.test(self)
  }

const plain =
  (change: (self: string) => Value): Method =>
  (self, args) => {
    bind('a method', args, [])
    return change(self)
  }

export const TEXT_METHODS: Readonly<Record<string, Method>> = {
  capitalize: plain(capitalize),
  center: padding('center'),
  count,
  endswith: (self, args) => startsOrEnds(self, args, (part, affix) => part.endsWith(affix)),
  expandtabs: expandTabs,
  find: (self, args) => find(self, args, false),
  format: (self, args, fuel) => {
    fuel.spend(self.length)
    return formatBraces(self, args)
  },
  index: (self, args) => found(self, args, false),
  isalnum: every(/^[\p{L}\p{N}]+$/u),
  isalpha: every(/^\p{L}+$/u),
  isascii: plain((self) => !/[\u0080-\uffff]/.test(self)),
  isdecimal: every(/^\p{Nd}+$/u),
  isdigit: every(/^[\p{Nd}\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468]+$/u),
  islower: plain((self) => self !== self.toUpperCase() && self === self.toLowerCase()),
  isnumeric: every(/^\p{N}+$/u),
  isprintable: every(/^[^\p{C}\u2028\u2029\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]*$/u),
  isspace: every(new RegExp(`^${SPACE}+$`)),
  istitle: plain((self) => IS_CASED.test(self) && title(self) === self),
  isupper: plain((self) => self !== self.toLowerCase() && self === self.toUpperCase()),
  join: (self, args, fuel) => {
    const [values = null] = bind('join', args, ['iterable'], 1)
    return join(self, values, fuel)
  },
  ljust: padding('right'),
  lower: plain((self) => self.toLowerCase()),
  lstrip: (self, args) => strip(self, bind('lstrip', args, ['chars'])[0], 'left'),
  partition: (self, args) => partition(self, args, false),
  removeprefix: (self, args) => {
    const prefix = text('removeprefix', bind('removeprefix', args, ['prefix'], 1)[0])
    return self.startsWith(prefix) ? self.slice(prefix.length) : self
  },
  removesuffix: (self, args) => {
    const suffix = text('removesuffix', bind('removesuffix', args, ['suffix'], 1)[0])
    return suffix !== '' && self.endsWith(suffix) ? self.slice(0, -suffix.length) : self
  },
  replace: (self, args, fuel) => {
    const [from, to, limit = -1] = bind('replace', args, ['old', 'new', 'count'], 2)
    const bounds = { limit: int('replace', limit), fuel }
    return replace(self, text('replace', from), text('replace', to), bounds)
  },
  rfind: (self, args) => find(self, args, true),
  rindex: (self, args) => found(self, args, true),
  rjust: padding('left'),
  rpartition: (self, args) => partition(self, args, true),
  rsplit: (self, args, fuel) => {
    fuel.spend(self.length)
    return split(self, args, true)
  },
  rstrip: (self, args) => strip(self, bind('rstrip', args, ['chars'])[0], 'right'),
  split: (self, args, fuel) => {
    fuel.spend(self.length)
    return split(self, args, false)
  },
  splitlines: (self, args, fuel) => {
    fuel.spend(self.length)
    return splitLines(self, args)
  },
  startswith: (self, args) => startsOrEnds(self, args, (part, affix) => part.startsWith(affix)),
  strip: (self, args) => strip(self, bind('strip', args, ['chars'])[0], 'both'),
  swapcase: plain(swapCase),
  title: plain(title),
  upper: plain((self) => self.toUpperCase()),
  zfill: zeroFill,
}

/** Methods of Python's text, lists and dicts that templates may not call here. */
export const MISSING_METHODS: ReadonlySet<string> = new Set([
  'casefold',
  'encode',
  'format_map',
  'isidentifier',
  'maketrans',
  'translate',
  'fromkeys',
  'bit_length',
  'as_integer_ratio',
  'hex',
  'is_integer',
  'conjugate',
  'to_bytes',
])
