// The output of every bench: one object with its figures (--json), or the same as a table.
import { execFileSync } from 'node:child_process'
import { cpus, totalmem } from 'node:os'

export interface Metric {
  name: string
  /** The median of `runs` runs. */
  value: number
  /** Empty for a ratio. */
  unit: string
  better: 'higher' | 'lower'
  /** The goal, if there is one. */
  bound?: number
  toward?: number
  runs: number
  min: number
  max: number
  /** The commit of this figure, where other parts of the report were measured at a later one. */
  commit?: string
}

export interface Report {
  bench: string
  question: string
  /** The commit of the measured code; "+" after it: with uncommitted changes. */
  commit: string
  machine: { cpu: string; cores: number; memoryBytes: number; node: string }
  metrics: Metric[]
}

export type Wanted = Pick<Metric, 'name' | 'unit' | 'better'> & Partial<Pick<Metric, 'bound' | 'toward'>>

/** The figure of some runs. */
export function metricOf(wanted: Wanted, values: readonly number[]): Metric {
  const sorted = [...values].sort((left, right) => left - right)
  const [min = Number.NaN] = sorted
  const value = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN
  return { ...wanted, value, runs: sorted.length, min, max: sorted.at(-1) ?? Number.NaN }
}

/** Whether a figure is what was asked for at least; undefined where nothing was. */
export function isMet({ value, bound, better }: Metric): boolean | undefined {
  if (bound === undefined) return undefined
  return better === 'higher' ? value >= bound : value <= bound
}

export function reportOf(bench: string, question: string, metrics: Metric[]): Report {
  const [cpu] = cpus()
  const machine = {
    cpu: cpu?.model ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    node: process.version,
  }
  return { bench, question, commit: commitOfTree(), machine, metrics }
}

/** `report` of a part of its bench, with what an earlier report says of the other parts. */
export function withOthersOf(earlier: Report, report: Report): Report {
  const measured = new Map(report.metrics.map((metric) => [metric.name, metric]))
  const kept = earlier.metrics.map((metric) => {
    const again = measured.get(metric.name)
    measured.delete(metric.name)
    return again ?? { ...metric, commit: metric.commit ?? earlier.commit }
  })
  return { ...report, metrics: [...kept, ...measured.values()] }
}

export function printReport(report: Report, isJson: boolean): void {
  if (isJson) return console.log(JSON.stringify(report))
  console.log(`${report.question}\n${report.commit}, ${report.machine.cores} × ${report.machine.cpu}`)
  for (const metric of report.metrics) {
    const { name, value, unit, bound, better, min, max } = metric
    const wanted = bound === undefined ? '' : `  (${better === 'higher' ? '≥' : '≤'} ${bound})`
    const verdict = isMet(metric) === false ? ' missed' : ''
    console.log(
      `  ${name.padEnd(70)} ${shown(value)} ${unit}  [${shown(min)} – ${shown(max)}]${wanted}${verdict}`,
    )
  }
}

/** A figure with as many digits as are worth reading. */
export function shown(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size >= 100) return value.toLocaleString('en', { maximumFractionDigits: 0 })
  if (size >= 10) return value.toFixed(1)
  return size !== 0 && size < 0.1 ? value.toPrecision(2) : value.toFixed(2)
}

function commitOfTree(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8' }).trim()
  const isChanged =
    git('status', '--porcelain', '--untracked-files=no', '--', '../../src', '../../sim') !== ''
  return git('rev-parse', '--short', 'HEAD') + (isChanged ? '+' : '')
}
