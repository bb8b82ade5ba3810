import { HearthError } from '../../src/base/errors.ts'
import type { RunResult } from '../runs/result/run-result.ts'

/** A run and the file that it was read from. */
export interface ReadRun {
  path: string
  run: RunResult
}

const HASH_SHOWN = 12

/**
 * Throws `usage`, with the runs that differ, unless all are of the same code, and those with one name and the same
 * settings are of the same scenario: their figures would be mixed otherwise.
 */
export function requireComparable(runs: readonly ReadRun[]): void {
  const [first] = runs
  if (first === undefined) return
  const other = runs.find(({ run }) => run.codeHash !== first.run.codeHash)
  if (other !== undefined) throw differ('the code', 'codeHash', first, other)
  for (const group of Map.groupBy(runs, ({ run }) => nameOf(run)).values()) {
    const one = group[0] as ReadRun
    const changed = group.find(({ run }) => run.scenarioHash !== one.run.scenarioHash)
    if (changed !== undefined)
      throw differ(`the scenario "${one.run.scenario}"`, 'scenarioHash', one, changed)
  }
}

function nameOf({ scenario, parameters }: RunResult): string {
  const settings = Object.entries(parameters).sort(([one], [other]) => (one < other ? -1 : 1))
  return JSON.stringify([scenario, settings])
}

function differ(what: string, key: 'codeHash' | 'scenarioHash', one: ReadRun, other: ReadRun): HearthError {
  const [first, second] = [one, other].map(({ path, run }) => `${path} (${run[key].slice(0, HASH_SHOWN)})`)
  return new HearthError(
    'usage',
    `These runs cannot share a report, because ${what} changed between them: ${first} and ${second}. Run both again with the same version`,
  )
}
