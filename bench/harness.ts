// What every bench prints: one object with its figures (--json), or the same as a table.
import { execFileSync } from 'node:child_process'
import { cpus, totalmem } from 'node:os'

export interface Metric {
  name: string
  /** The median of `runs` runs. */
  value: number
  unit: string
  better: 'higher' | 'lower'
  /** What was asked for at least, where something was. */
  bound?: number
  toward?: number
  runs: number
  min: number
  max: number
}

export interface Report {
  bench: string
  commit: string
  machine: { cpu: string; cores: number; memoryBytes: number; node: string }
  metrics: Metric[]
}

type Wanted = Pick<Metric, 'name' | 'unit' | 'better'> & Partial<Pick<Metric, 'bound' | 'toward'>>

/** The figure of some runs. */
export function metricOf(wanted: Wanted, values: readonly number[]): Metric {
  const sorted = [...values].sort((left, right) => left - right)
  const [min = Number.NaN] = sorted
  const value = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN
  return { ...wanted, value, runs: sorted.length, min, max: sorted.at(-1) ?? Number.NaN }
}

export function reportOf(bench: string, metrics: Metric[]): Report {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: import.meta.dirname })
  const [cpu] = cpus()
  const machine = {
    cpu: cpu?.model ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    node: process.version,
  }
  return { bench, commit: commit.toString().trim(), machine, metrics }
}

export function printReport(report: Report, isJson: boolean): void {
  if (isJson) return console.log(JSON.stringify(report))
  console.log(`${report.bench} at ${report.commit}, ${report.machine.cores} × ${report.machine.cpu}`)
  for (const { name, value, unit, bound, better, min, max } of report.metrics) {
    const wanted = bound === undefined ? '' : `  (${better === 'higher' ? '≥' : '≤'} ${bound})`
    console.log(`  ${name.padEnd(58)} ${shown(value)} ${unit}  [${shown(min)} – ${shown(max)}]${wanted}`)
  }
}

const shown = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2))
