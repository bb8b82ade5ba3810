import type { RunResult } from '../runs/result/run-result.ts'
import { heatMapFigure, type HeatMapAxes } from './heat-map.ts'
import { checksSummary, htmlPage, provenance, summaryTable } from './page.ts'
import { progressFigure, startUpFigure, tailFigure } from './progress-figures.ts'
import type { Figure } from './render.ts'
import { gpuFigure, makespanFigure, replicationFigure } from './summary-figures.ts'
import { variantsOf, varyingParameters, type Variant } from './variants.ts'

/** With more variants, curves would hide one another, so the page has only tables, bars and maps. */
const CURVES_MAX = 7
const BARS_MAX = 24
/** A longer table would hide the figures: it goes below them. */
const SHORT_TABLE_ROWS_MAX = 12
/** The parameter of a scenario that says how many copies of a context are kept. */
const COPIES_PARAMETER = 'replicas'
/** Parameters whose meaning asks for a place: sizes of leases across, what a peer keeps from panel to panel. */
const ACROSS = 'batch'
const PANEL = 'mode'

/** A page about some runs of one or several scenarios: the same bytes for the same runs. */
export async function reportPage(runs: readonly RunResult[]): Promise<string> {
  const variants = variantsOf(runs)
  const scenarios = [...new Set(runs.map(({ scenario }) => scenario))]
  const titles = [...new Set(runs.map(({ title }) => title))]
  const hasShortTable = variants.length <= SHORT_TABLE_ROWS_MAX
  const checks = checksSummary(runs)
  return await htmlPage({
    title: `Simulated: ${scenarios.join(', ')}`,
    lead: titles.map(asSentence).join(' '),
    figures: figuresOf(variants),
    tables: hasShortTable ? `${summaryTable(variants)}\n${checks}` : checks,
    foot: hasShortTable ? provenance(runs) : `${summaryTable(variants)}\n${provenance(runs)}`,
  })
}

function asSentence(title: string): string {
  const words = title.charAt(0).toUpperCase() + title.slice(1)
  return words.endsWith('.') ? words : `${words}.`
}

/** The figures that these variants have something to say in. */
export function figuresOf(variants: readonly Variant[]): Figure[] {
  const curves = variants.length <= CURVES_MAX
  const axes = heatMapAxes(variants)
  const figures = [
    axes === undefined ? undefined : heatMapFigure(variants, axes),
    replicationFigure(variants, COPIES_PARAMETER),
    curves ? progressFigure(variants) : undefined,
    variants.length <= BARS_MAX ? gpuFigure(variants) : undefined,
    axes === undefined ? makespanFigure(variants) : undefined,
    curves ? startUpFigure(variants) : undefined,
    curves ? tailFigure(variants) : undefined,
  ]
  return figures.filter((figure) => figure !== undefined)
}

/** A sweep over two parameters or three is a map; one over the lease size has that across. */
function heatMapAxes(variants: readonly Variant[]): HeatMapAxes | undefined {
  const varying = varyingParameters(variants)
  const panel = varying.includes(PANEL) ? PANEL : undefined
  const [first, second] = varying.filter((name) => name !== panel)
  if (first === undefined || second === undefined) return undefined
  return second === ACROSS ? { x: second, y: first, panel } : { x: first, y: second, panel }
}
