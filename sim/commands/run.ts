import { join } from 'node:path'
import { numberOption } from '../../src/base/number-option.ts'
import { defaultJobs, runMany } from '../runs/run-many.ts'
import type { RunResult } from '../runs/result/run-result.ts'
import { loadScenario } from '../scenarios/load.ts'
import { writeReport } from './report.ts'
import type { Output } from './run-command.ts'
import { runProgress } from './run-progress.ts'
import { runLines } from './run-lines.ts'

export interface RunOptions {
  seed: string
  reps: string
  set: string[]
  jobs?: string
  out?: string
  events?: boolean
}

/** Runs a scenario once or several times, with seeds one after the other. 1 when a check does not hold. */
export async function runCommand(scenario: string, options: RunOptions, output: Output): Promise<number> {
  const seed = numberOption('--seed', options.seed, { isWhole: true, least: 0 })
  const reps = numberOption('--reps', options.reps, { isWhole: true, least: 1 })
  const jobs =
    options.jobs === undefined
      ? defaultJobs()
      : numberOption('--jobs', options.jobs, { isWhole: true, least: 1 })
  // Said before any thread starts: what is wrong with the scenario is wrong in every run.
  const { name } = loadScenario(scenario, options.set)
  const folder = options.out ?? join('out', 'sim', name)
  const requests = Array.from({ length: reps }, (_, rep) => ({
    scenario,
    settings: options.set,
    seed: seed + rep,
    out: reps === 1 ? folder : join(folder, `seed-${seed + rep}`),
    events: options.events,
  }))
  const results = await runMany(requests, jobs, runProgress(output, reps))
  for (const result of results) {
    if (output.isJson) output.print(result)
    else for (const line of runLines(result)) output.print(line)
  }
  await writeReport(results, join(folder, 'report.html'))
  output.note(`Results are in ${folder}; open ${join(folder, 'report.html')} in a browser`)
  return results.every(holds) ? 0 : 1
}

export function holds({ checks }: RunResult): boolean {
  return checks.every((check) => check.holds)
}
