import { numberOption } from '../../src/base/number-option.ts'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { courseFigure, type MeasuredPoint } from '../report/course-figure.ts'
import { htmlPage, htmlTable, provenance } from '../report/page.ts'
import { formatNumber } from '../report/units.ts'
import { validationFigure } from '../report/validation-figure.ts'
import { defaultJobs, runMany } from '../runs/run-many.ts'
import type { RunResult } from '../runs/result/run-result.ts'
import { SCENARIOS_FOLDER } from '../scenarios/load.ts'
import { paperRequests, paperRows, type PaperRow } from '../validate/paper.ts'
import { writePage } from './report.ts'
import type { Output } from './run-command.ts'

/** The run whose course over time is drawn: the one on whatever GPUs there were. */
const DRAWN = 'pv6'
const DRAWN_FILE = join(SCENARIOS_FOLDER, 'data', 'pv6.csv')

export interface ReportPaperOptions {
  output: string
  reps: string
}

/** `hearth sim report paper`: runs the paper's scenarios and draws each published figure beside ours. */
export async function reportPaperCommand(options: ReportPaperOptions, output: Output): Promise<number> {
  const reps = numberOption('--reps', options.reps, { isWhole: true, least: 1 })
  const requests = paperRequests(reps)
  const results = await runMany(requests, defaultJobs(), (done) =>
    output.progress(`${done} of ${requests.length} runs done`),
  )
  const file = resolve(options.output)
  await writePage(await paperPage(paperRows(reps, results), results), file)
  output.print(output.isJson ? { report: file, runs: results.length } : file)
  return 0
}

/** The page: all rows as dots on their bands, and as a table. */
export async function paperPage(rows: readonly PaperRow[], results: readonly RunResult[]): Promise<string> {
  const drawn = results.filter(({ scenario }) => scenario === DRAWN)
  const published = readPublished(await readFile(DRAWN_FILE, 'utf8'))
  return await htmlPage({
    title: 'The simulator beside the paper',
    lead: 'Figures of arXiv 2509.13201 and of the simulation with one set of constants (sim/scenarios/base/paper.yaml).',
    figures: [validationFigure(rows), courseFigure(DRAWN, published, drawn)],
    foot: `${tableOf(rows)}\n${provenance(results)}`,
  })
}

/** Rows of `t_s,workers,inferences`, after comments and a header. */
function readPublished(csv: string): MeasuredPoint[] {
  return csv
    .split('\n')
    .filter((line) => /^\d/.test(line))
    .map((line) => {
      const [timeS = 0, workers = 0, inferences = 0] = line.split(',').map(Number)
      return { timeS, workers, inferences }
    })
}

function tableOf(rows: readonly PaperRow[]): string {
  const percent = (share: number): string => `${share > 0 ? '+' : ''}${(100 * share).toFixed(1)} %`
  const whole = (share: number): string => `${share > 0 ? '+' : ''}${Math.round(100 * share)} %`
  return htmlTable(
    ['', 'published', 'simulated', 'error', 'band', 'in it', 'constants'],
    rows.map(({ run, what, published, simulated, error, low, high, isInBand, kind }) => [
      `${run}: ${what}`,
      formatNumber(published),
      formatNumber(simulated),
      percent(error),
      `${whole(low - 1)} … ${whole(high - 1)}`,
      isInBand ? 'yes' : 'NO',
      kind,
    ]),
  )
}
