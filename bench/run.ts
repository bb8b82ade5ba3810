// npm run bench -- NAME [--json] [--quick] [--runs N] [--only PART] [--save]
// Without a NAME: which there are. --save keeps the figures in results/, with --only those of that part beside the
// others' earlier ones; `npm run bench -- docs` makes docs/benchmarks.md and its picture of them.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Bench } from './support/bench.ts'
import { writeBenchmarksPage } from './benchmarks-page.ts'
import { printReport, reportOf, withOthersOf, type Report } from './support/harness.ts'

const FRAME = new Set(['bench', 'benchmarks-page', 'harness', 'run'])
const RESULTS = join(import.meta.dirname, 'results')

const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts'))
  .map((file) => basename(file, '.ts'))
  .filter((name) => !FRAME.has(name))

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    runs: { type: 'string', default: '3' },
    only: { type: 'string' },
    save: { type: 'boolean', default: false },
  },
})

async function load(name: string): Promise<Bench> {
  return ((await import(`./${name}.ts`)) as { default: Bench }).default
}

async function measure(name: string): Promise<void> {
  const { question, run } = await load(name)
  const { quick, only, json } = flags
  const runs = quick ? 1 : Number(flags.runs)
  const note = (line: string): void => console.error(line)
  const report = reportOf(name, question, await run({ quick, runs, only, note, isSaving: flags.save }))
  if (flags.save) save(report)
  printReport(report, json)
}

function save(report: Report): void {
  mkdirSync(RESULTS, { recursive: true })
  const file = join(RESULTS, `${report.bench}.json`)
  const isPart = flags.only !== undefined && existsSync(file)
  const whole = isPart ? withOthersOf(JSON.parse(readFileSync(file, 'utf8')) as Report, report) : report
  writeFileSync(file, `${JSON.stringify(whole, null, 2)}\n`)
}

async function list(): Promise<void> {
  console.log('npm run bench -- NAME [--json] [--quick] [--runs N] [--only PART] [--save]\n')
  for (const name of names) console.log(`  ${name.padEnd(16)} ${(await load(name)).question}`)
  console.log(`  ${'docs'.padEnd(16)} (makes docs/benchmarks.md of what --save has kept)`)
}

const [name] = positionals
if (name === undefined) await list()
else if (name === 'docs') writeBenchmarksPage(RESULTS, join(import.meta.dirname, '../docs'))
else if (names.includes(name)) await measure(name)
else {
  console.error(`there is no bench "${name}": choose one of ${names.join(', ')}`)
  process.exitCode = 2
}
