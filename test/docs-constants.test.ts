// Holds every time, size and bound that a page of docs/protocol states against the code.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const PAGES = readdirSync(join(ROOT, 'docs/protocol')).filter((name) => name.endsWith('.md'))

const SOURCES = new Map(
  readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => [join('src', path), readFileSync(join(ROOT, 'src', path), 'utf8')]),
)

/** Quantities that pages state and that no constant of ours is. */
const NO_CONSTANT: Record<string, string> = {
  'advert.md 2 KiB': 'the measured size of an advert with eight warm contexts',
}

/** Units of pages, in those of the code: ms, bytes, shares. */
const UNITS: Record<string, number> = {
  ms: 1,
  s: 1_000,
  min: 60_000,
  minutes: 60_000,
  h: 3_600_000,
  bytes: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  '%': 0.01,
}
const QUANTITY = /(\d[\d,]*(?:\.\d+)?) (ms|s|min|minutes|h|bytes|KiB|MiB|%)(?![\w/])/g
/** `| what | bound | constant |`: several bounds and their constants are separated by semicolons. */
const ROW = /^\|([^|]+)\|([^|]+)\|((?:\s*`[A-Z][\w.[\]]*`(?: in `[\w.-]+`)?[;\s]*)+)\|$/gm

interface Row {
  what: string
  values: number[]
  names: string[]
}

const round = (value: number): number => Number(value.toPrecision(12))

function amountOf(text: string): number {
  const [, digits = '', unit = ''] = /^\s*(\d[\d,]*(?:\.\d+)?) ?([A-Za-z%]+)?/.exec(text) ?? []
  return round(Number(digits.replaceAll(',', '') || Number.NaN) * (UNITS[unit] ?? 1))
}

function rowsOf(page: string): Row[] {
  return [...page.matchAll(ROW)].map(([, what = '', bounds = '', constants = '']) => ({
    what: what.trim(),
    values: bounds.split(';').map(amountOf),
    names: constants.split(';').map((name) => name.trim()),
  }))
}

/** The expressions that a name stands for in the code: of one file, or of all that define it. */
function expressionsOf(name: string, sources: ReadonlyMap<string, string>): string[] {
  const [object = '', property] = name.split('.')
  const [bare = '', index] = object.split('[')
  const definition = new RegExp(String.raw`\bconst ${bare}\b[^=]*=\s+([^]*?)(?=\n\S|$)`, 'g')
  return [...sources.values()]
    .flatMap((text) => [...text.matchAll(definition)].map(([, expression = '']) => expression))
    .map((expression) => {
      const of = property?.split('[') ?? []
      const inside = property === undefined ? expression : propertyOf(expression, of[0] ?? '')
      const at = property === undefined ? index : of[1]
      return at === undefined ? inside : elementOf(inside, Number.parseInt(at, 10))
    })
}

function propertyOf(object: string, property: string): string {
  return new RegExp(String.raw`\b${property}: ((?:\[[^\]]*\]|[^,\n}])+)`).exec(object)?.[1] ?? ''
}

function elementOf(list: string, index: number): string {
  return /\[([^\]]*)\]/.exec(list)?.[1]?.split(',')[index] ?? ''
}

/** The value of an expression of numbers and other constants. */
function evaluate(expression: string, sources: ReadonlyMap<string, string>): number {
  const code = expression.replaceAll(/\/\*[^]*?\*\/|\/\/.*$/gm, '')
  const plain = code.replaceAll(/[A-Z][A-Z0-9_]+/g, (name) => String(valueOf(name, sources)))
  if (!/^[\d_\s.*+/()-]+$/.test(plain)) return Number.NaN
  // oxlint-disable-next-line typescript/no-implied-eval -- digits and operators only
  return round(new Function(`return (${plain.replaceAll('_', '').trim()})`)() as number)
}

/** What a constant is in the code. Throws when it is not there, or is not one number. */
function valueOf(mark: string, sources: ReadonlyMap<string, string>): number {
  const [, name = '', file] = /^`?([\w.[\]]+)`?(?: in `([\w.-]+)`)?$/.exec(mark) ?? []
  const where =
    file === undefined ? sources : new Map([...sources].filter(([path]) => path.endsWith(`/${file}`)))
  const expressions = expressionsOf(name, where)
  const values = new Set(expressions.map((expression) => evaluate(expression, sources)))
  const [value = Number.NaN] = values
  if (values.size !== 1 || Number.isNaN(value))
    throw new Error(`${mark} is not one number in src/: ${JSON.stringify(expressions)}`)
  return value
}

/** Rows that the code contradicts, in words. */
function wrongRows(page: string, sources: ReadonlyMap<string, string>): string[] {
  return rowsOf(page).flatMap(({ what, values, names }) => {
    const actual = names.map((name) => valueOf(name, sources))
    const isRight = values.length === actual.length && values.every((value, at) => value === actual[at])
    return isRight ? [] : [`${what}: ${values.join('; ')}, in the code ${actual.join('; ')}`]
  })
}

/** Quantities of the prose that no row of the page has. */
function unheld(name: string, page: string): string[] {
  const held = new Set(rowsOf(page).flatMap(({ values }) => values))
  const prose = page.replaceAll(/^```[^]*?^```/gm, '').replaceAll(ROW, '')
  return [...prose.matchAll(QUANTITY)]
    .filter(([quantity]) => !held.has(amountOf(quantity)))
    .map(([quantity]) => `${name} ${quantity}`)
}

const textOf = (name: string): string => readFileSync(join(ROOT, 'docs/protocol', name), 'utf8')

describe.each(PAGES)('docs/protocol/%s', (name) => {
  test('states constants as they are in the code', () => {
    expect(wrongRows(textOf(name), SOURCES)).toEqual([])
  })

  test('states no time and no size beside those of its table of limits', () => {
    expect(unheld(name, textOf(name)).filter((where) => !(where in NO_CONSTANT))).toEqual([])
  })
})

test('every quantity without a constant is still stated', () => {
  const stated = PAGES.flatMap((name) => unheld(name, textOf(name)))
  expect(Object.keys(NO_CONSTANT).filter((where) => !stated.includes(where))).toEqual([])
})

describe('a page that is wrong', () => {
  const sources = new Map([
    [
      'src/a/timings.ts',
      'export const WAIT_MS_MAX = 50\nconst KIB = 1024\nexport const A_BYTES: number = 2 * KIB\n',
    ],
    [
      'src/b.ts',
      'export const TIMES = {\n  tellMs: 100,\n  againMs: [300, 1_000],\n} as const\nconst SHARE = 0.1\n',
    ],
    ['src/c.ts', 'const TWICE = 1\n'],
    ['src/d.ts', 'const TWICE = 2\n'],
  ])

  test.each([
    ['another value', '| a wait | 20 ms | `WAIT_MS_MAX` |', 1],
    ['another unit', '| a wait | 50 s | `WAIT_MS_MAX` |', 1],
    ['one of two values', '| waits | 50 ms; 0.2 s | `WAIT_MS_MAX`; `TIMES.tellMs` |', 1],
    ['fewer values than names', '| waits | 50 ms | `WAIT_MS_MAX`; `TIMES.tellMs` |', 1],
    [
      'nothing wrong',
      '| all | 50 ms; 0.1 s; 2 KiB; 10 %; 1 s | `WAIT_MS_MAX`; `TIMES.tellMs`; `A_BYTES`; `SHARE`; `TIMES.againMs[1]` |',
      0,
    ],
    ['a name in one file of two', '| twice | 2 | `TWICE` in `d.ts` |', 0],
  ])('is found with %s', (_what, row, count) => {
    expect(wrongRows(row, sources)).toHaveLength(count)
  })

  test.each(['`NOWHERE`', '`TWICE`', '`TIMES.nothing`'])('is found with %s', (name) => {
    expect(() => wrongRows(`| what | 1 | ${name} |`, sources)).toThrow('is not one number')
  })

  test('is found by a quantity that no row has', () => {
    const page = 'At most 20 ms.\n\n| a wait | 50 ms | `WAIT_MS_MAX` |\n'
    expect(unheld('page.md', page)).toEqual(['page.md 20 ms'])
  })
})
