import type { RunResult } from '../runs/result/run-result.ts'
import { meanEstimate } from '../statistics/intervals.ts'
import { mean } from '../statistics/summary.ts'
import { escapeHtml, renderSvg, type Figure } from './render.ts'
import { formatBytes, formatNumber, formatShare, formatTime } from './units.ts'
import type { Variant } from './variants.ts'

const STYLE = `:root{color-scheme:light dark;--ink:#1d2329;--soft:#5b6670;--line:#d5dae0;--paper:#fff;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa5af;--line:#39424b;--paper:#14181c;--bad:#ff8a80}}
body{font:16px/1.5 system-ui,"Segoe UI","Liberation Sans",sans-serif;max-width:820px;margin:2rem auto;padding:0 1rem;color:var(--ink);background:var(--paper)}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2.2rem 0 .4rem}
figure{margin:0;color:var(--ink)}figure svg{max-width:100%;height:auto}figcaption,.soft{color:var(--soft);font-size:.9rem}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}
th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{font-weight:600;white-space:normal;vertical-align:bottom}.bad{color:var(--bad);font-weight:600}code{font-size:.85em}`

export interface PageParts {
  title: string
  /** One or two sentences that introduce the page. */
  lead: string
  figures: readonly Figure[]
  /** HTML between the lead and the figures, and after them. */
  tables?: string
  foot?: string
}

/** A page that needs no other file; the same bytes for the same parts. */
export async function htmlPage({ title, lead, figures, tables = '', foot = '' }: PageParts): Promise<string> {
  const drawn: string[] = []
  for (const figure of figures) {
    const heading = `<h2>${escapeHtml(figure.title)}</h2>`
    const caption = `<figcaption>${escapeHtml(figure.caption)}</figcaption>`
    drawn.push(`${heading}\n<figure id="${figure.id}">${await renderSvg(figure)}${caption}</figure>`)
  }
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title><style>
${STYLE}
</style></head><body>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(lead)}</p>
${tables}
${drawn.join('\n')}
${foot}
</body></html>
`
}

/** Rows of text as a table; the first cell of a row is its name. */
export function htmlTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (row: readonly string[], tag: 'th' | 'td'): string =>
    `<tr>${row.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`
  return `<table><thead>${cells(head, 'th')}</thead><tbody>${rows.map((row) => cells(row, 'td')).join('\n')}</tbody></table>`
}

/** The figures that a reader looks for first, a row for each variant: means over its runs. */
export function summaryTable(variants: readonly Variant[]): string {
  const head = [
    '',
    'runs',
    'makespan, 95 %',
    'work done',
    'work lost',
    'GPU time useful',
    'model loads',
    'from origin',
    'between peers',
  ]
  const rows = variants.map(({ label, runs }) => {
    const { value, low, high } = meanEstimate(runs.map(({ makespanS }) => makespanS))
    const over = (of: (run: RunResult) => number): number => mean(runs.map(of))
    const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole)
    return [
      label,
      String(runs.length),
      formatTime(value, (high - low) / 2),
      formatShare(over(({ work }) => share(work.completed, work.total))),
      formatShare(over(({ work }) => share(work.wasted, work.completed + work.wasted))),
      formatShare(over(({ gpuS }) => share(gpuS.useful, gpuS.up))),
      formatNumber(over(({ peers }) => peers.reduce((sum, { loads }) => sum + loads, 0))),
      formatBytes(over(({ bytes }) => bytes.fromOrigin)),
      formatBytes(over(({ bytes }) => bytes.fromPeers)),
    ]
  })
  return htmlTable(head, rows)
}

/** The findings of the checkers: one line when all checks hold, otherwise one line per failure. */
export function checksSummary(runs: readonly RunResult[]): string {
  const failed = runs.flatMap(({ scenario, seed, checks }) =>
    checks
      .filter(({ holds }) => !holds)
      .map(({ check, detail }) => `${scenario}, seed ${seed}: ${check}: ${detail}`),
  )
  const unfinished = runs.filter(({ isComplete }) => !isComplete)
  const lines = [
    ...failed.map((line) => `<li class="bad">${escapeHtml(line)}</li>`),
    ...unfinished.map(
      ({ scenario, seed, makespanS }) =>
        `<li class="bad">${escapeHtml(`${scenario}, seed ${seed}: not done after ${formatTime(makespanS)}, when the run was cut off`)}</li>`,
    ),
  ]
  if (lines.length > 0) return `<ul>${lines.join('\n')}</ul>`
  const names = [...new Set(runs.flatMap(({ checks }) => checks.map(({ check }) => check)))].sort()
  return `<p class="soft">${escapeHtml(names.length === 0 ? 'No checks were on.' : `All checks held in every run: ${names.join('; ')}.`)}</p>`
}

/** The commands that repeat each run. */
export function provenance(runs: readonly RunResult[]): string {
  const rows = runs.map(({ scenario, seed, parameters, events, eventHash, codeHash, node }) => [
    scenario,
    String(seed),
    Object.entries(parameters)
      .map(([name, value]) => `${name}=${value}`)
      .join(' '),
    formatNumber(events),
    eventHash.slice(0, 12),
    codeHash.slice(0, 12),
    node,
  ])
  return `<details><summary class="soft">Runs</summary>${htmlTable(['scenario', 'seed', 'set', 'events', 'event hash', 'code', 'Node'], rows)}</details>`
}
