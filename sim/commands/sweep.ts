import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { HearthError } from '../../src/base/errors.ts'
import { numberOption } from '../../src/base/number-option.ts'
import { varyingParameters, wordOf } from '../report/variants.ts'
import { defaultJobs, runMany } from '../runs/run-many.ts'
import type { RunRequest } from '../runs/run.ts'
import { codeHash } from '../runs/code-hash.ts'
import { RUN_RESULT_VERSION, type RunResult } from '../runs/result/run-result.ts'
import { loadScenario } from '../scenarios/load.ts'
import { combinationsOf, gridOf } from '../sweep/grid.ts'
import { MEASURES } from './compare.ts'
import { writeReport } from './report.ts'
import type { Output } from './run-command.ts'
import { runProgress } from './run-progress.ts'
import { holds } from './run.ts'

export interface SweepOptions {
  seed?: string
  reps?: string
  set: string[]
  jobs?: string
  out?: string
  fresh?: boolean
}

/** One run of a sweep. */
interface Planned {
  request: RunRequest & { out: string }
  hash: string
}

const FOLDER_NAME_MAX = 80

/**
 * `hearth sim sweep`: every combination of the values of some settings, each with the same seeds. Runs that
 * the folder has already are not run again, so a sweep that was broken off goes on. 1 when a check does not hold.
 */
export async function sweepCommand(
  scenarioOrGrid: string,
  options: SweepOptions,
  output: Output,
): Promise<number> {
  const grid = gridOf(scenarioOrGrid, options.set)
  const seed = numberOption('--seed', options.seed ?? String(grid.seed ?? 1), { isWhole: true, least: 0 })
  const reps = numberOption('--reps', options.reps ?? String(grid.reps ?? 1), { isWhole: true, least: 1 })
  const jobs =
    options.jobs === undefined
      ? defaultJobs()
      : numberOption('--jobs', options.jobs, { isWhole: true, least: 1 })
  const combinations = combinationsOf(grid)
  // Said before any thread starts: a value that cannot be is not found out after an hour.
  const loaded = combinations.map((settings) => loadScenario(grid.scenario, settings))
  const name = loaded[0]?.name ?? ''
  const folder = options.out ?? join('out', 'sim', `sweep-${name}`)
  const seeds = Array.from({ length: reps }, (_, rep) => seed + rep)
  const planned = combinations.flatMap((settings, index) =>
    seeds.map((one): Planned => {
      const hash = loaded[index]?.hash ?? ''
      const out = join(folder, 'runs', folderName(settings, hash), `seed-${one}`)
      return { request: { scenario: grid.scenario, settings, seed: one, out, isBrief: true }, hash }
    }),
  )
  prepareFolder(folder, options.fresh === true)
  const results = await runPlanned(planned, jobs, output)
  const rows = results.map(rowOf)
  writeFileSync(join(folder, 'sweep.csv'), csvOf(rows))
  const report = join(folder, 'report.html')
  await writeReport(results, report)
  if (output.isJson) output.print({ scenario: name, report, runs: rows })
  else for (const line of tableOf(rows)) output.print(line)
  output.note(`Results are in ${folder}; open ${report} in a browser`)
  return results.every(holds) ? 0 : 1
}

async function runPlanned(planned: readonly Planned[], jobs: number, output: Output): Promise<RunResult[]> {
  const kept = planned.map(keptRun)
  const missing = planned.filter((_, index) => kept[index] === undefined)
  const before = planned.length - missing.length
  if (before > 0)
    output.note(`${before} of ${planned.length} runs already exist; add --fresh to run them again`)
  const progress = runProgress(output, planned.length, before)
  const results = await runMany(
    missing.map(({ request }) => request),
    jobs,
    progress,
  )
  let next = 0
  return kept.map((run) => run ?? (results[next++] as RunResult))
}

/** The result of this run from an earlier sweep; undefined when it is incomplete. */
function keptRun({ request, hash }: Planned): RunResult | undefined {
  try {
    const run = JSON.parse(readFileSync(join(request.out, 'run.json'), 'utf8')) as RunResult
    const isSame =
      run.version === RUN_RESULT_VERSION &&
      run.codeHash === codeHash() &&
      run.scenarioHash === hash &&
      run.seed === request.seed
    return isSame ? run : undefined
  } catch {
    return undefined
  }
}

function prepareFolder(folder: string, isFresh: boolean): void {
  if (isFresh) rmSync(join(folder, 'runs'), { recursive: true, force: true })
  try {
    mkdirSync(folder, { recursive: true })
  } catch (cause) {
    throw new HearthError('output-unwritable', `Cannot create the folder --out ${folder}. Choose another`, {
      cause,
    })
  }
  if (existsSync(join(folder, 'run.json'))) {
    throw new HearthError('usage', `${folder} holds a single run. Give the sweep another folder with --out`)
  }
}

/** A readable name, plus a hash of the settings that it leaves out. */
function folderName(settings: readonly string[], hash: string): string {
  const words = settings.map((setting) => {
    const [key = '', ...value] = setting.split('=')
    return `${wordOf(key)}-${value.join('=')}`
  })
  const readable = words
    .join('_')
    .replace(/[^\w.+-]+/g, '-')
    .slice(0, FOLDER_NAME_MAX)
  return `${readable}-${hash.slice(0, 8)}`
}

interface Row {
  set: RunResult['parameters']
  seed: number
  isComplete: boolean
  /** Names of checks that did not hold. */
  broken: string[]
  /** Keyed by the names of `MEASURES`. */
  measures: Record<string, number>
}

function rowOf(run: RunResult): Row {
  return {
    set: run.parameters,
    seed: run.seed,
    isComplete: run.isComplete,
    broken: run.checks.filter((check) => !check.holds).map(({ check }) => check),
    measures: Object.fromEntries(
      MEASURES.flatMap(({ measure, unit, of }) => {
        const value = of(run)
        return value === undefined ? [] : [[unit === '' ? measure : `${measure}, ${unit}`, value]]
      }),
    ),
  }
}

/** One line per run, for whoever draws figures of his own. */
function csvOf(rows: readonly Row[]): string {
  const [first] = rows
  if (first === undefined) return ''
  const keys = Object.keys(first.set)
  const measures = [...new Set(rows.flatMap((row) => Object.keys(row.measures)))]
  const head = [...keys, 'seed', ...measures, 'complete', 'checks broken']
  const lines = rows.map((row) => [
    ...keys.map((key) => row.set[key] ?? ''),
    row.seed,
    ...measures.map((measure) => row.measures[measure] ?? ''),
    row.isComplete,
    row.broken.join('; '),
  ])
  return `${[head, ...lines].map((cells) => cells.map(csvCell).join(',')).join('\n')}\n`
}

function csvCell(value: string | number | boolean): string {
  const text = String(value)
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** Makespans by combination, the best first: what a sweep is mostly for. */
function tableOf(rows: readonly Row[]): string[] {
  const groups = Map.groupBy(rows, ({ set }) => JSON.stringify(set))
  const varying = varyingParameters(rows.map(({ set }) => ({ parameters: set })))
  const means = [...groups.values()].map((group) => ({
    words: varying.map((key) => `${wordOf(key)}=${group[0]?.set[key]}`).join(' '),
    makespanS: group.reduce((sum, { measures }) => sum + (measures['makespan, s'] ?? 0), 0) / group.length,
    isWhole: group.every(({ isComplete, broken }) => isComplete && broken.length === 0),
  }))
  means.sort((one, other) => one.makespanS - other.makespanS)
  const width = Math.max(...means.map(({ words }) => words.length))
  return means.map(
    ({ words, makespanS, isWhole }) =>
      `${words.padEnd(width)}  ${Math.round(makespanS).toLocaleString('en').padStart(10)} s${isWhole ? '' : '  NOT DONE, or a check does not hold'}`,
  )
}
