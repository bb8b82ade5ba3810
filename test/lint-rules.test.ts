import { execFile } from 'node:child_process'
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import { OVER } from '../oxlint.config.ts'
import { temporaryFolder } from '../testing/temporary-folder.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** One bad file for each rule that holds the architecture: its path, its text, the rule that must say no. */
const BAD: [what: string, path: string, text: string, rule: string][] = [
  [
    'a domain imports another',
    'src/tasks/a.ts',
    `import { x } from '../dht/x.ts'\nexport const a: number = x\n`,
    'no-restricted-imports',
  ],
  [
    'base imports a domain',
    'src/base/a.ts',
    `import { x } from '../dht/x.ts'\nexport const a: number = x\n`,
    'no-restricted-imports',
  ],
  [
    'node imports the command line',
    'src/node/a.ts',
    `import { x } from '../cli/x.ts'\nexport const a: number = x\n`,
    'no-restricted-imports',
  ],
  [
    'src imports test',
    'src/dht/b.ts',
    `import { x } from '../../test/x.ts'\nexport const a: number = x\n`,
    'no-restricted-imports',
  ],
  [
    'a core reads a file',
    'src/tasks/worker/core/a.ts',
    `import { readFileSync } from 'node:fs'\nexport const a: string = readFileSync('x', 'utf8')\n`,
    'no-restricted-imports',
  ],
  [
    'a core has a clock',
    'src/tasks/worker/core/b.ts',
    `import type { Clock } from '../../../base/clock.ts'\nexport const a: Clock | undefined = undefined\n`,
    'no-restricted-imports',
  ],
  [
    'a core imports a shell',
    'src/tasks/worker/core/c.ts',
    `import { x } from '../../x.ts'\nexport const a: number = x\n`,
    'no-restricted-imports',
  ],
  [
    'a core takes a type of a shell',
    'src/tasks/worker/core/d.ts',
    `import type { x } from '../../x.ts'\nexport type A = typeof x\n`,
    'no-restricted-imports',
  ],
  [
    'a core imports another domain',
    'src/tasks/worker/core/f.ts',
    `import { x } from '../../../dht/x.ts'\nexport const a: number = x\n`,
    'no-restricted-imports',
  ],
  [
    'a file deep in a domain imports another',
    'src/tasks/worker/g.ts',
    `import { x } from '../../dht/x.ts'\nexport const a: number = x\n`,
    'no-restricted-imports',
  ],
  [
    'the simulator imports a shell',
    'sim/world/a.ts',
    `import { x } from '../../src/tasks/x.ts'\nexport const a: number = x\n`,
    'no-restricted-imports',
  ],
  ['the ambient clock', 'src/tasks/c.ts', 'export const a: number = Date.now()\n', 'no-restricted-globals'],
  [
    'an ambient timer',
    'src/node/c.ts',
    'export const a: unknown = setTimeout(() => {}, 1)\n',
    'no-restricted-globals',
  ],
  [
    'the timers module',
    'src/node/d.ts',
    `import { setTimeout as wait } from 'node:timers/promises'\nexport const a: unknown = wait\n`,
    'no-restricted-imports',
  ],
  [
    'ambient chance',
    'src/inference/c.ts',
    'export const a: number = Math.random()\n',
    'no-restricted-properties',
  ],
  [
    'an ambient deadline',
    'src/dht/c.ts',
    'export const a: AbortSignal = AbortSignal.timeout(1)\n',
    'no-restricted-properties',
  ],
  [
    'a promise that nobody awaits',
    'src/base/c.ts',
    'async function f(): Promise<void> {}\nexport function g(): void {\n  f()\n}\n',
    'no-floating-promises',
  ],
  [
    'a cycle of types',
    'src/api/one.ts',
    `import type { Two } from './two.ts'\nexport interface One {\n  two?: Two\n}\n`,
    'no-cycle',
  ],
  ['a file of more than 400 lines', 'src/dht/long.ts', linesOf(401), 'max-lines'],
  ['a function of more than 60 lines', 'sim/long.ts', functionOf(61), 'max-lines-per-function'],
  ['a function of five parameters', 'testing/wide.ts', parametersOf(5), 'max-params'],
  ['a function of five parameters in bench', 'bench/wide.ts', parametersOf(5), 'max-params'],
  ['a core of seven parameters', 'src/dht/core/wide.ts', parametersOf(7), 'max-params'],
]

function linesOf(count: number): string {
  return Array.from({ length: count }, (_, index) => `export const a${index}: number = ${index}\n`).join('')
}

/** A function of so many lines, its first and last counted. */
function functionOf(lines: number): string {
  return `export function f(): number {\n  let a = 0\n${'  a += 1\n'.repeat(lines - 4)}  return a\n}\n`
}

function parametersOf(count: number): string {
  const names = Array.from({ length: count }, (_, index) => `a${index}`)
  const typed = names.map((name) => `${name}: number`).join(', ')
  return `export function f(${typed}): number {\n  return ${names.join(' + ')}\n}\n`
}

/** What the bad files import, and the other half of the cycle. */
const GOOD: Record<string, string> = {
  'src/dht/x.ts': 'export const x: number = 1\n',
  'src/cli/x.ts': 'export const x: number = 1\n',
  'src/tasks/x.ts': 'export const x: number = 1\n',
  'src/tasks/worker/core/x.ts': 'export const x: number = 1\n',
  'src/tasks/wire/x.ts': 'export const x: number = 1\n',
  'src/base/limits.ts': 'export const x: number = 1\n',
  'src/tasks/submitter/core/y.ts': `import { x } from '../../worker/core/x.ts'\nexport const a: number = x\n`,
  'src/tasks/submitter/core/z.ts': `import { x } from '../../../base/limits.ts'\nexport const a: number = x\n`,
  'src/tasks/submitter/core/w.ts': `import type { x } from '../../wire/x.ts'\nexport type A = typeof x\n`,
  'sim/world/b.ts': `import { x } from '../../src/tasks/worker/core/x.ts'\nexport const a: number = x\n`,
  'sim/world/c.ts': `import type { x } from '../../src/tasks/x.ts'\nexport type A = typeof x\n`,
  'src/base/clock.ts': 'export interface Clock {\n  nowMs(): number\n}\n',
  'test/x.ts': 'export const x: number = 1\n',
  'src/api/two.ts': `import type { One } from './one.ts'\nexport interface Two {\n  one?: One\n}\n`,
  'src/dht/full.ts': linesOf(400),
  'sim/full.ts': functionOf(60),
  'testing/four.ts': parametersOf(4),
  'src/dht/core/six.ts': parametersOf(6),
  'test/tall.ts': functionOf(100),
  'src/base/system-clock.ts': 'export const a: number = Date.now()\n',
}

/** A rule of the list OVER, and what oxlint says of a file of it when the ceilings know no exception. */
async function saidWithout(rule: string, files: string[]): Promise<string[]> {
  const ceilings = { 'max-lines': 400, 'max-lines-per-function': 60, 'max-params': 4 }
  const config = join(folder, `${rule}.json`)
  const max = ceilings[rule as keyof typeof ceilings]
  const rules = { [rule]: ['error', { max }] }
  await writeFile(config, JSON.stringify({ categories: { correctness: 'off' }, rules }))
  const run = promisify(execFile)(oxlint, ['-c', config, '--format', 'json', ...files], { cwd: ROOT })
  const { stdout } = await run.catch((error: { stdout: string }) => error)
  return (JSON.parse(stdout) as { diagnostics: { filename: string }[] }).diagnostics.map(
    ({ filename }) => filename,
  )
}

const oxlint = join(ROOT, 'node_modules/.bin/oxlint')
let folder: string
let said: { code: string; filename: string }[]

beforeAll(async () => {
  folder = temporaryFolder('lint')
  const files: [string, string][] = [
    ...Object.entries(GOOD),
    ...BAD.map(([, path, text]): [string, string] => [path, text]),
  ]
  for (const [path, text] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  for (const name of ['oxlint.config.ts', 'tsconfig.json', 'package.json'])
    await cp(join(ROOT, name), join(folder, name))
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const run = promisify(execFile)(oxlint, ['--type-aware', '--format', 'json'], { cwd: folder })
  const { stdout } = await run.catch((error: { stdout: string }) => error)
  said = (JSON.parse(stdout) as { diagnostics: { code: string; filename: string }[] }).diagnostics
}, 60_000)

describe('the architecture is held by rules that fail', () => {
  test.each(BAD)('%s', (_what, path, _text, rule) => {
    const codes = said.filter(({ filename }) => filename.endsWith(path)).map(({ code }) => code)
    expect(codes.join(' ')).toContain(rule)
  })

  test('and say nothing of files that keep to it, the adapters among them', () => {
    const good = Object.keys(GOOD).filter((path) => path !== 'src/api/two.ts')
    expect(said.filter(({ filename }) => good.some((path) => filename.endsWith(path)))).toEqual([])
  })
})

describe('the list of files over a ceiling', () => {
  test.each(Object.entries(OVER))('has none that keeps to %s', async (rule, files) => {
    const over = new Set(await saidWithout(rule, files))
    expect(files.filter((file) => !over.has(file))).toEqual([])
  })
})
