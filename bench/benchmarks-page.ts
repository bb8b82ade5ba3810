// Generates docs/benchmarks.md and its picture from the kept results of the benches.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isMet, shown, type Metric, type Report } from './support/harness.ts'

const WIDTH = 900
const NAME_WIDTH = 430
const ROW_HEIGHT = 22
/** The picture's axis ends where a goal is missed, or surpassed, by this factor. */
const FACTOR_MAX = 8

export function writeBenchmarksPage(results: string, docs: string): void {
  const reports = readReports(results)
  writeFileSync(join(docs, 'benchmarks.md'), pageOf(reports))
  writeFileSync(join(docs, 'benchmarks.svg'), pictureOf(reports))
}

export function readReports(results: string): Report[] {
  return readdirSync(results)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .map((file) => JSON.parse(readFileSync(join(results, file), 'utf8')) as Report)
}

export function pageOf(reports: readonly Report[]): string {
  return `# Benchmarks

\`npm run bench\` lists the benchmarks, and the command in each section measures it again.
Machines differ and are noisy, so most figures are ratios of two measurements from one run.
\`npm run bench -- docs\` generates this page from \`bench/results\`.

- **goal**: what Hearth promises; a missed one is marked.
- **stretch**: what would be better still.
- **range**: the least and the greatest of several runs, with their number.

![each goal, and by which factor it is met or missed](benchmarks.svg)

${reports.map(sectionOf).join('\n')}`
}

function sectionOf({ bench, question, commit, machine, metrics }: Report): string {
  const { cores, cpu, memoryBytes, node } = machine
  const rows = metrics.map(rowOf)
  return `## ${bench}

${question}

\`npm run bench -- ${bench} --json\` · commit ${commit} · ${cores} × ${cpu}, ${Math.round(memoryBytes / 2 ** 30)} GiB, Node ${node.slice(1)}

| figure | measured | range | goal | stretch | |
|---|---|---|---|---|---|
${rows.join('\n')}
`
}

function rowOf(metric: Metric): string {
  const { name, value, unit, better, bound, toward, runs, min, max, commit } = metric
  const what = commit === undefined ? name : `${name} (at ${commit})`
  const sign = better === 'higher' ? '≥' : '≤'
  const goal = (figure: number | undefined): string =>
    figure === undefined ? '' : `${sign} ${shown(figure)}`
  const range = runs > 1 ? `${shown(min)} – ${shown(max)} (${runs})` : ''
  const verdict = { true: 'met', false: '**missed**', undefined: '' }[String(isMet(metric))] ?? ''
  return `| ${what} | ${`${shown(value)} ${unit}`.trim()} | ${range} | ${goal(bound)} | ${goal(toward)} | ${verdict} |`
}

/** How many times better than the goal: 1 is just met. Undefined without a goal. */
function factorOf({ value, bound, better }: Metric): number | undefined {
  if (bound === undefined || !Number.isFinite(value)) return undefined
  if (bound === 0) return value === 0 ? FACTOR_MAX : 1 / FACTOR_MAX
  return better === 'higher' ? value / bound : bound / Math.max(value, Number.MIN_VALUE)
}

/** One bar for each goal, from the line of "just met" to the left (missed) or the right; logarithmic. */
export function pictureOf(reports: readonly Report[]): string {
  const rows = reports.flatMap(({ bench, metrics }) =>
    metrics.flatMap((metric) => {
      const factor = factorOf(metric)
      return factor === undefined ? [] : [{ label: `${bench}: ${metric.name}`, factor }]
    }),
  )
  const height = rows.length * ROW_HEIGHT + 56
  const half = (WIDTH - NAME_WIDTH - 60) / 2
  const middle = NAME_WIDTH + half
  const x = (factor: number): number => {
    const bounded = Math.min(FACTOR_MAX, Math.max(1 / FACTOR_MAX, factor))
    return middle + (Math.log(bounded) / Math.log(FACTOR_MAX)) * half
  }
  const ticks = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8].map(
    (factor) =>
      `<line class="${factor === 1 ? 'met' : 'tick'}" x1="${round(x(factor))}" x2="${round(x(factor))}" y1="30" y2="${height - 22}"/>` +
      `<text x="${round(x(factor))}" y="${height - 6}" text-anchor="middle">${factor >= 1 ? `${factor}×` : `1/${1 / factor}`}</text>`,
  )
  const bars = rows.map(({ label, factor }, index) => {
    const y = 34 + index * ROW_HEIGHT
    const from = Math.min(x(factor), middle)
    const width = Math.max(2, Math.abs(x(factor) - middle))
    return (
      `<text x="${NAME_WIDTH - 10}" y="${y + 13}" text-anchor="end">${escape(shorten(label))}</text>` +
      `<rect class="${factor >= 1 ? 'good' : 'bad'}" x="${round(from)}" y="${y + 3}" width="${round(width)}" height="13" rx="2"/>` +
      `<text x="${WIDTH - 4}" y="${y + 13}" text-anchor="end">${shown(factor)}×</text>`
    )
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="each goal, and by which factor it is met or missed">
<style>text{font:12px system-ui,sans-serif;fill:#4a545e}.title{font-weight:600;fill:#1d2329}.tick{stroke:#e3e6ea}.met{stroke:#6b7680}.good{fill:#3f8f6b}.bad{fill:#c8553d}</style>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text class="title" x="${middle}" y="18" text-anchor="middle">measured over goal (1× = met)</text>
${[...ticks, ...bars].join('\n')}
</svg>
`
}

const shorten = (label: string): string => (label.length > 68 ? `${label.slice(0, 67)}…` : label)
const round = (value: number): number => Math.round(value * 10) / 10
const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
