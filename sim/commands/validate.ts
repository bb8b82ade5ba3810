import { HearthError } from '../../src/base/errors.ts'
import { numberOption } from '../../src/base/number-option.ts'
import { defaultJobs, runMany } from '../runs/run-many.ts'
import { paperRequests, paperRows, type PaperRow } from '../validate/paper.ts'
import type { Output } from './run-command.ts'

export interface ValidateOptions {
  reps: string
  jobs?: string
}

/** Holds the simulator beside what is known. 1 when a figure is out of its band. */
export async function validateCommand(
  what: string,
  options: ValidateOptions,
  output: Output,
): Promise<number> {
  if (what !== 'paper')
    throw new HearthError(
      'usage',
      `\`hearth sim validate\` takes "paper", not "${what}". To compare the simulator with real processes, run \`npm run bench -- live\``,
    )
  const reps = numberOption('--reps', options.reps, { isWhole: true, least: 1 })
  const jobs =
    options.jobs === undefined
      ? defaultJobs()
      : numberOption('--jobs', options.jobs, { isWhole: true, least: 1 })
  const requests = paperRequests(reps)
  const results = await runMany(requests, jobs, (done) =>
    output.progress(`${done} of ${requests.length} runs done`),
  )
  const rows = paperRows(reps, results)
  if (output.isJson) output.print({ validate: what, seeds: reps, rows })
  else for (const row of rows) output.print(lineOf(row))
  return rows.every(({ isInBand }) => isInBand) ? 0 : 1
}

function lineOf({ run, what, published, simulated, error, low, high, isInBand, kind }: PaperRow): string {
  const percent = (share: number): string => `${share > 0 ? '+' : ''}${(100 * share).toFixed(1)} %`
  return [
    run.padEnd(12),
    what.padEnd(34),
    Number(published.toPrecision(4)).toLocaleString('en').padStart(9),
    Number(simulated.toPrecision(4)).toLocaleString('en').padStart(9),
    percent(error).padStart(9),
    `${percent(low - 1)} … ${percent(high - 1)}`.padStart(20),
    isInBand ? '' : 'MISSED',
    kind,
  ].join('  ')
}
