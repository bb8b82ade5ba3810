// No number of src/ is typed again in sim/: the simulator imports it (docs/simulator.md).
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

/** Parts of sim/ that model the world outside of Hearth, or measure, draw and parse; none of them acts for a peer. */
const OUTSIDE: Record<string, string> = {
  'sim/churn/': 'how fleets come and go',
  'sim/commands/': 'what commands print',
  'sim/kernel/': 'bits of the event queue and of its hash',
  'sim/report/': 'sizes and colours of figures',
  'sim/scenarios/churn-schema.ts': 'settings of a scenario',
  'sim/scenarios/outside.ts': 'how long the world outside takes',
  'sim/scenarios/schema.ts': 'settings of a scenario',
  'sim/statistics/': 'coefficients of series and intervals',
  'sim/traces/': 'formats of others, and fits',
  'sim/validate/': "the paper's published figures",
}

/** Numbers of sim/ that are equal to one of src/ by chance, and what they are. */
const BY_CHANCE: Record<string, string> = {
  'sim/dht/dht-world.ts settleMs': 'how long a measurement of the DHT waits for tables to fill',
  'sim/dht/dht-world.ts untilMs': 'how long a measurement of the DHT lasts',
  'sim/runs/output-folder.ts LINES_WAITING_MAX': 'events that a run holds until its file takes them',
  'sim/sweep/grid.ts COMBINATIONS_MAX': 'runs that one sweep may ask for',
}

interface Constant {
  /** `path name`, or `path literal` where it has no name. */
  where: string
  /** Without its unit; '' for a bare literal. */
  name: string
  kind: 'time' | 'bytes' | 'plain' | 'bare'
  /** Times in µs. */
  value: number
}

const UNITS: Record<string, { kind: Constant['kind']; factor: number }> = {
  US: { kind: 'time', factor: 1 },
  MS: { kind: 'time', factor: 1e3 },
  S: { kind: 'time', factor: 1e6 },
  BYTES: { kind: 'bytes', factor: 1 },
}
const EXPRESSION = String.raw`-?[\d(][\d_.\s*+()e]*`
const NAMED = new RegExp(
  String.raw`\b([A-Za-z]\w*)(?:: number)?\s*[=:]\s*(${EXPRESSION})(?=[,;)}\n]|$)`,
  'gm',
)
/** A literal with separators is large enough to mean something. */
const BARE = /(?<![\w.])\d+(?:_\d{3})+\b/g
/** Factors between units. */
const POWERS_OF_TEN = new Set([1e3, 1e6, 1e9])

const wordsOf = (name: string): string[] =>
  name
    .replaceAll(/([a-z\d])([A-Z])/g, '$1_$2')
    .toUpperCase()
    .split('_')

function valueOf(expression: string): number {
  const plain = expression.replaceAll('_', '').trim()
  if (!/^[\d\s.*+()e-]+$/.test(plain)) return Number.NaN
  try {
    // oxlint-disable-next-line typescript/no-implied-eval -- digits and operators only
    return new Function(`return (${plain})`)() as number
  } catch {
    return Number.NaN
  }
}

/** Named numeric constants and literals with separators of one file. */
function constantsIn(path: string, text: string): Constant[] {
  const code = text.replaceAll(/\/\*[^]*?\*\/|\/\/.*$/gm, '')
  const found: Constant[] = []
  const rest = code.replaceAll(NAMED, (whole, name: string, expression: string) => {
    const words = wordsOf(name)
    // A rate is no time, and MS_US is the factor between two units.
    const isUnitless = words.includes('PER') || words.every((word) => word in UNITS)
    const unit = isUnitless ? '' : (words.findLast((word) => word in UNITS) ?? '')
    const isConstant = /^[A-Z][A-Z0-9_]+$/.test(name)
    if (unit === '' && !isConstant) return whole
    const { kind, factor } = UNITS[unit] ?? { kind: 'plain' as const, factor: 1 }
    const value = factor * valueOf(expression)
    const bare = words.filter((word) => word !== unit).join('_')
    if (Number.isFinite(value)) found.push({ where: `${path} ${name}`, name: bare, kind, value })
    return ''
  })
  for (const [literal] of rest.matchAll(BARE))
    found.push({ where: `${path} ${literal}`, name: '', kind: 'bare', value: valueOf(literal) })
  return found.filter(({ value }) => value !== 0)
}

function constantsOf(folder: string): Constant[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((path) => join(folder, path))
    .filter((path) => path.endsWith('.ts') && !Object.keys(OUTSIDE).some((one) => path.startsWith(one)))
    .flatMap((path) => constantsIn(path, readFileSync(join(ROOT, path), 'utf8')))
}

/** Constants of the simulator that repeat one of `production`: by value and unit, or by name with another value. */
function repeated(simulated: readonly Constant[], production: readonly Constant[]): string[] {
  const known = new Set(production.map(({ kind, value }) => `${kind} ${value}`))
  const names = new Set(production.map(({ name }) => name).filter((name) => name.includes('_')))
  const isRepeated = ({ kind, value, name }: Constant): boolean => {
    if (names.has(name)) return true
    if (kind !== 'time' && POWERS_OF_TEN.has(value)) return false
    if (kind === 'bare')
      return [`time ${value}`, `time ${1e3 * value}`, `bytes ${value}`].some((one) => known.has(one))
    // Small counts are equal by chance.
    if (kind === 'plain' && Number.isInteger(value) && value < 10) return false
    return known.has(`${kind} ${value}`)
  }
  return simulated.filter(isRepeated).map(({ where }) => where)
}

test('no number in sim/ repeats one of src/', () => {
  const found = repeated(constantsOf('sim'), constantsOf('src'))
  expect(found.filter((where) => !(where in BY_CHANCE))).toEqual([])
})

test('every number that may be equal by chance exists and is equal', () => {
  const found = repeated(constantsOf('sim'), constantsOf('src'))
  expect(Object.keys(BY_CHANCE).filter((where) => !found.includes(where))).toEqual([])
})

test.each([
  ['a time in another unit', 'const CHANGE_US = 50_000', 'const DELAY_MS = 50'],
  [
    'a time in a settings object',
    'const TIMING = { restMs: 500 }',
    'export const X = { waitMs: 500 } as const',
  ],
  ['bytes', 'const AUDIT_BYTES = 1_048_576', 'export const CHUNK_BYTES: number = 1024 * 1024'],
  ['a share', 'const STEP = 0.05', 'export const GROWTH = 0.05'],
  ['a literal in a call', 'after(2_000_000, look)', 'const LOOK_MS = 2_000'],
  ['a count', 'const NEAR_PEERS = 20', 'const NEIGHBOURS = 20'],
  ['a name with another value', 'const GROUP_WAIT_US = 10_000', 'const GROUP_WAIT_MS = 50'],
])('would find %s', (_what, simulated, production) => {
  expect(repeated(constantsIn('sim/a.ts', simulated), constantsIn('src/b.ts', production))).toHaveLength(1)
})

test('would pass over other numbers and other units', () => {
  const simulated = 'const ANSWER_US = 123_000\nconst SLOT_BITS = 22\nconst at = 1_000_000\nconst FEW = 3'
  const production = 'const ANSWER_BYTES = 123_000\nconst MANY = 3'
  expect(repeated(constantsIn('sim/a.ts', simulated), constantsIn('src/b.ts', production))).toEqual([])
})
