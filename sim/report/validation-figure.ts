import type { Figure, Layers } from './render.ts'
import { FIGURE_WIDTH, PALETTE } from './theme.ts'

/** A published figure beside the simulated one. */
export interface ValidationRow {
  run: string
  what: string
  published: number
  simulated: number
  /** The band that simulated / published should be in. */
  low: number
  high: number
  isInBand: boolean
  kind: 'fitted' | 'predicted'
}

const ROW_HEIGHT = 24

/** Each figure as simulated over published, on the band that it should be in. */
export function validationFigure(rows: readonly ValidationRow[]): Figure {
  const values = rows.map(({ run, what, published, simulated, low, high, isInBand, kind }) => ({
    row: `${run}: ${what}`,
    ratio: simulated / published,
    low,
    high,
    kind,
    shape: isInBand ? 'in its band' : 'out of its band',
  }))
  const missed = rows.filter(({ isInBand }) => !isInBand).length
  return {
    id: 'validation',
    title: 'The simulator beside the published runs',
    caption: `Dots: simulated over published. Grey: the band it should be in. ${missed === 0 ? 'All' : `${rows.length - missed} of ${rows.length}`} are. "Fitted" figures were in view when the constants were chosen; "predicted" ones were not.`,
    spec: {
      width: FIGURE_WIDTH - 180,
      height: { step: ROW_HEIGHT },
      data: { values },
      encoding: {
        y: {
          field: 'row',
          type: 'nominal',
          title: null,
          sort: null,
          axis: { labelLimit: 480, domain: false, ticks: false, grid: true },
        },
      },
      layer: [
        {
          mark: { type: 'bar', height: ROW_HEIGHT - 10, color: '#8C8C8C', opacity: 0.3 },
          encoding: {
            x: {
              field: 'low',
              type: 'quantitative',
              title: 'simulated / published',
              scale: { zero: false, padding: 12 },
              axis: { tickCount: 8, format: '~r' },
            },
            x2: { field: 'high' },
          },
        },
        {
          mark: { type: 'rule', strokeDash: [4, 3], color: 'currentColor', opacity: 0.6 },
          encoding: { x: { datum: 1 }, y: { value: 0 }, y2: { value: rows.length * ROW_HEIGHT } },
        },
        dotsOf(values),
      ],
    },
  }
}

/** Each figure as a dot: its colour says how it was chosen, its shape whether it is in its band. */
function dotsOf(values: readonly { kind: string; shape: string }[]): Layers[number] {
  return {
    mark: { type: 'point', filled: true, size: 80, opacity: 1 },
    encoding: {
      x: { field: 'ratio', type: 'quantitative' },
      color: {
        field: 'kind',
        type: 'nominal',
        title: null,
        scale: { domain: ['fitted', 'predicted'], range: [PALETTE[0], PALETTE[1]] },
        legend: { values: present(values.map(({ kind }) => kind)) },
      },
      shape: {
        field: 'shape',
        type: 'nominal',
        title: null,
        scale: { domain: ['in its band', 'out of its band'], range: ['circle', 'cross'] },
        legend: {
          values: present(values.map(({ shape }) => shape)),
          symbolFillColor: 'currentColor',
          symbolStrokeColor: 'currentColor',
        },
      },
    },
  }
}

/** Each once: a legend names nothing that is not in the figure. */
function present(values: readonly string[]): string[] {
  return [...new Set(values)]
}
