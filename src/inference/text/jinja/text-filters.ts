// Filters that change texts.
import { bind, int, text } from './arguments.ts'
import { pad } from './formatting.ts'
import type { Fuel } from './fuel.ts'
import { SPACE } from './reading/lexer.ts'
import { length } from './number-filters.ts'
import { LINE_BREAK } from './text-methods.ts'
import {
  isIterable,
  isTrue,
  iterate,
  print,
  TemplateError,
  type Arguments,
  type Value,
} from './values/values.ts'

const WORD_START = new RegExp(`([-\\s({\\[<]+)`.replace('\\s', SPACE.slice(1, -1)), 'u')

export function indent(value: Value, args: Arguments, { fuel }: { fuel: Fuel }): Value {
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

export function title(value: Value): Value {
  return print(value)
    .split(WORD_START)
    .map((part) => {
      const [first = '', ...rest] = part
      return first.toUpperCase() + rest.join('').toLowerCase()
    })
    .join('')
}

/** As `urllib.parse.quote`: letters, digits and `_.-~/` stay. */
export function urlEncode(value: Value): Value {
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

export function truncate(value: Value, args: Arguments): Value {
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
