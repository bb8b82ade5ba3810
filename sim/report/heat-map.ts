import type { ParameterValue } from '../runs/result/run-result.ts'
import { mean } from '../statistics/summary.ts'
import type { Figure } from './render.ts'
import { wordOf, type Variant } from './variants.ts'

/** Which parameters a sweep varied: across, up, and from panel to panel. */
export interface HeatMapAxes {
  x: string
  y: string
  panel?: string | undefined
}

/** All panels together are as wide as a figure, within reason. */
const PANELS_WIDTH = 600
const CELL_MIN = 46
const CELL_MAX = 84
const CELL_HEIGHT = 40

/** How many times the best makespan each combination of a sweep took. */
export function heatMapFigure(variants: readonly Variant[], axes: HeatMapAxes): Figure | undefined {
  const cells = variants.flatMap(({ parameters, runs }) => {
    const { [axes.x]: x, [axes.y]: y } = parameters
    if (x === undefined || y === undefined || runs.length === 0) return []
    const panel = axes.panel === undefined ? '' : String(parameters[axes.panel] ?? '')
    return { x, y, panel, makespanS: mean(runs.map(({ makespanS }) => makespanS)) }
  })
  const best = Math.min(...cells.map(({ makespanS }) => makespanS))
  const columns = sortedValues(cells.map(({ x }) => x))
  const rows = sortedValues(cells.map(({ y }) => y))
  if (columns.length < 2 || rows.length < 2) return undefined
  const values = cells.map(({ x, y, panel, makespanS }) => {
    const ratio = makespanS / best
    return { x, y, panel, ratio, words: `${ratio < 9.95 ? ratio.toFixed(1) : Math.round(ratio)}×` }
  })
  const most = Math.max(2, ...values.map(({ ratio }) => ratio))
  const panels = [...new Set(values.map(({ panel }) => panel))]
  const cell = Math.min(CELL_MAX, Math.max(CELL_MIN, PANELS_WIDTH / (panels.length * columns.length)))
  return {
    id: 'heat-map',
    title: `Makespan by ${wordOf(axes.x)} and ${wordOf(axes.y)}`,
    caption: `Each cell: mean makespan as a multiple of the best (${Math.round(best)} s). A flat row means that there is nothing to tune.`,
    spec: {
      data: { values },
      ...(axes.panel === undefined
        ? {}
        : { facet: { column: { field: 'panel', type: 'nominal', title: null, sort: panels } } }),
      spec: {
        width: { step: cell },
        height: { step: CELL_HEIGHT },
        encoding: {
          x: {
            field: 'x',
            type: 'ordinal',
            title: wordOf(axes.x),
            sort: columns,
            axis: { labelAngle: 0, domain: false, ticks: false },
          },
          y: {
            field: 'y',
            type: 'ordinal',
            title: wordOf(axes.y),
            sort: rows.toReversed(),
            axis: { domain: false, ticks: false },
          },
        },
        layer: cellLayers(most),
      },
    } as Figure['spec'],
  }
}

/** Each cell's colour, and its number in a colour that can be read on it. */
function cellLayers(most: number): object[] {
  return [
    {
      mark: { type: 'rect', stroke: '#88888830' },
      encoding: {
        color: {
          field: 'ratio',
          type: 'quantitative',
          title: 'multiple of the best makespan',
          scale: { type: 'log', domain: [1, most], scheme: 'viridis', reverse: true },
          legend: { gradientLength: 220, tickCount: 5, format: '~r' },
        },
      },
    },
    {
      mark: { type: 'text', fontSize: 12 },
      encoding: {
        text: { field: 'words' },
        color: {
          condition: { test: `datum.ratio > ${most ** 0.45}`, value: '#ffffff' },
          value: '#101418',
        },
      },
    },
  ]
}

function sortedValues(values: readonly ParameterValue[]): ParameterValue[] {
  return [...new Set(values)].sort((a, b) =>
    typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : 1,
  )
}
