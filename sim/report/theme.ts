import type { Config } from 'vega-lite'

/** Okabe and Ito's palette, which people with any colour vision tell apart, on white and on black. */
export const PALETTE = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#8C8C8C'] as const

/** The uses of a GPU-second, in the stacking order of bars. */
export const GPU_PARTS = [
  { part: 'useful', label: 'useful work', color: '#009E73' },
  { part: 'load', label: 'loading', color: '#E69F00' },
  { part: 'transfer', label: 'waiting for bytes', color: '#56B4E9' },
  { part: 'wasted', label: 'lost work', color: '#D55E00' },
  { part: 'idle', label: 'idle', color: '#A7ADB3' },
] as const

/** Widths of figures and rows, px. The page is as wide as a figure and its axes. */
export const FIGURE_WIDTH = 640
export const PANEL_HEIGHT = 190
/** About what a letter of a name takes, px. */
export const LETTER_WIDTH = 6.5

/** Words take the colour of the page, so that one picture serves light and dark; grids are grey on both. */
const INK = 'currentColor'
const GRID = '#88888840'

export const CONFIG: Config = {
  background: 'transparent',
  font: 'system-ui, "Segoe UI", "Liberation Sans", sans-serif',
  aria: false,
  view: { stroke: null },
  axis: {
    labelColor: INK,
    titleColor: INK,
    labelFontSize: 12,
    titleFontSize: 13,
    titleFontWeight: 'normal',
    titlePadding: 8,
    domainColor: '#888888',
    tickColor: '#888888',
    gridColor: GRID,
  },
  legend: {
    labelColor: INK,
    titleColor: INK,
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    orient: 'top',
    labelLimit: 400,
    titleLimit: 400,
    columnPadding: 18,
    symbolStrokeWidth: 3,
  },
  header: {
    labelColor: INK,
    titleColor: INK,
    labelFontSize: 13,
    titleFontSize: 13,
    titleFontWeight: 'normal',
  },
  title: { color: INK, fontSize: 14 },
  mark: { color: PALETTE[0] },
  line: { strokeWidth: 2 },
  rule: { color: PALETTE[0] },
  range: { category: [...PALETTE] },
}
