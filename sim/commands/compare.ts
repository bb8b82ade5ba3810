import { numberOption } from '../../src/base/number-option.ts'
import { join } from 'node:path'
import { seededRandom } from '../../src/base/random.ts'
import { defaultJobs, runMany } from '../runs/run-many.ts'
import type { RunResult } from '../runs/result/run-result.ts'
import { loadScenario } from '../scenarios/load.ts'
import type { Estimate } from '../statistics/intervals.ts'
import { comparePaired, type PairedComparison } from '../statistics/paired.ts'
import { writeReport } from './report.ts'
import type { Output } from './run-command.ts'
import { runProgress } from './run-progress.ts'
import { holds } from './run.ts'

export interface CompareOptions {
  seed: string
  reps: string
  set: string[]
  setA: string[]
  setB: string[]
  jobs?: string
  out?: string
}

/** The compared measures of a run. */
export const MEASURES: readonly {
  measure: string
  unit: string
  of: (run: RunResult) => number | undefined
}[] = [
  { measure: 'makespan', unit: 's', of: ({ makespanS }) => makespanS },
  { measure: 'the last 0.3 % of the work', unit: 's', of: ({ tailS }) => tailS },
  { measure: 'work done', unit: 'inferences', of: ({ work }) => work.completed },
  { measure: 'work lost', unit: 'inferences', of: ({ work }) => work.wasted },
  { measure: 'GPU time useful', unit: '%', of: ({ gpuS }) => (100 * gpuS.useful) / Math.max(1, gpuS.up) },
  {
    measure: 'model loads',
    unit: '',
    of: ({ peers }) => peers.reduce((sum, { loads }) => sum + loads, 0),
  },
  { measure: 'from the origin', unit: 'GB', of: ({ bytes }) => bytes.fromOrigin / 1e9 },
  { measure: 'between peers', unit: 'GB', of: ({ bytes }) => bytes.fromPeers / 1e9 },
]

export interface MeasureComparison extends PairedComparison {
  measure: string
  unit: string
}

/** `hearth sim compare`: runs A and B on the same seeds, so on the same churn, devices and work, and compares pair by pair. */
export async function compareCommand(
  [a, b]: readonly [string, string],
  options: CompareOptions,
  output: Output,
): Promise<number> {
  const seed = numberOption('--seed', options.seed, { isWhole: true, least: 0 })
  const reps = numberOption('--reps', options.reps, { isWhole: true, least: 2 })
  const jobs =
    options.jobs === undefined
      ? defaultJobs()
      : numberOption('--jobs', options.jobs, { isWhole: true, least: 1 })
  const sides = [
    { side: 'a', scenario: a, settings: [...options.set, ...options.setA] },
    { side: 'b', scenario: b, settings: [...options.set, ...options.setB] },
  ]
  // Said before any thread starts: what is wrong with a scenario is wrong in every run.
  const names = sides.map(({ scenario, settings }) => loadScenario(scenario, settings).name)
  const folder = options.out ?? join('out', 'sim', `compare-${names.join('-')}`)
  // Pair by pair, so that the two of a pair run beside one another.
  const requests = Array.from({ length: reps }, (_, rep) =>
    sides.map(({ side, scenario, settings }) => ({
      scenario,
      settings,
      seed: seed + rep,
      out: join(folder, side, `seed-${seed + rep}`),
    })),
  ).flat()
  const results = await runMany(requests, jobs, runProgress(output, requests.length))
  const runsOf = (side: number): RunResult[] => results.filter((_, index) => index % 2 === side)
  const compared = compareRuns(runsOf(0), runsOf(1), seed)
  await writeReport(results, join(folder, 'report.html'))
  if (output.isJson) output.print({ a: names[0], b: names[1], seed, reps, measures: compared })
  else for (const line of comparisonLines(compared, reps)) output.print(line)
  output.note(`Results are in ${folder}`)
  return results.every(holds) ? 0 : 1
}

/** Every measure of two samples of runs whose seeds go together; one that a run lacks is left out. */
export function compareRuns(
  a: readonly RunResult[],
  b: readonly RunResult[],
  seed: number,
): MeasureComparison[] {
  return MEASURES.flatMap(({ measure, unit, of }) => {
    const [ofA, ofB] = [a, b].map((runs) => runs.flatMap((run) => of(run) ?? [])) as [number[], number[]]
    if (ofA.length < a.length || ofB.length < b.length) return []
    return { measure, unit, ...comparePaired(ofA, ofB, { random: seededRandom(seed) }) }
  })
}

/** The comparison as a table for people. */
export function comparisonLines(compared: readonly MeasureComparison[], reps: number): string[] {
  const rows = compared.map(({ measure, unit, a, b, difference, ratio, isDifferent }) => [
    unit === '' ? measure : `${measure} (${unit})`,
    digits(a),
    digits(b),
    `${signed(difference.value)} ± ${digits((difference.high - difference.low) / 2)}`,
    Number.isFinite(ratio.value) ? `${digits(ratio.value)} (${interval(ratio)})` : '–',
    isDifferent ? 'yes' : 'no',
  ])
  const head = ['', 'A', 'B', 'B − A, 95 %', 'B / A, 95 %', 'different']
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('   ')
  return [
    `means of ${reps} pairs of runs, each pair with the same churn, devices and work`,
    line(head),
    ...rows.map(line),
  ]
}

function interval({ low, high }: Estimate): string {
  return `${digits(low)}–${digits(high)}`
}

function signed(value: number): string {
  return `${value > 0 ? '+' : ''}${digits(value)}`
}

function digits(value: number): string {
  return Math.abs(value) >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))
}
