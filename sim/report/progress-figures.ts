import type { RunResult, Series } from '../runs/result/run-result.ts'
import { quantile } from '../statistics/summary.ts'
import type { Figure, Panels } from './render.ts'
import { FIGURE_WIDTH, LETTER_WIDTH, PANEL_HEIGHT } from './theme.ts'
import { timeUnit, type Unit } from './units.ts'
import type { Variant } from './variants.ts'

/** Beside and between the names of a legend, px. */
const LEGEND_REST = 150
const LEGEND_GAP = 45
/** Points of a curve: more than pixels would only make the page larger. */
const POINTS = 200
/** The share of work below which a tail is not drawn: one of a million. */
const REMAINING_MIN = 1e-6

interface Band {
  variant: string
  time: number
  low: number
  middle: number
  high: number
}

/** Completed work, and peers that are up and that have the model loaded, over time. */
export function progressFigure(variants: readonly Variant[]): Figure {
  const lastS = lastOf(variants)
  const unit = timeUnit(lastS)
  const time = timeAxis(unit)
  const color = colorOf(variants)
  const work = variants.flatMap((variant) => bands(variant, lastS, unit, doneAt))
  const peers = variants.flatMap((variant) =>
    [
      { state: 'up', of: (series: Series) => series.livePeers },
      { state: 'model loaded', of: (series: Series) => series.readyPeers },
    ].flatMap(({ state, of }) =>
      bands(variant, lastS, unit, ({ series }, timeS) => valueAt(series, of(series), timeS)).map((row) => ({
        ...row,
        state,
      })),
    ),
  )
  return {
    id: 'progress',
    title: 'Completed work and peers over time',
    caption: `${hasRepetitions(variants) ? 'Lines are medians, bands hold nine runs of ten. ' : ''}A gap between peers that are up and those with the model loaded is start-up, or peers that are cut off.`,
    spec: {
      spacing: 16,
      vconcat: [workPanel(work, color, time), peersPanel(peers, color, time)],
    },
  }
}

function workPanel(work: readonly Band[], color: VariantColor, time: TimeAxis): Panels[number] {
  return {
    width: FIGURE_WIDTH,
    height: PANEL_HEIGHT,
    data: { values: [...work] },
    layer: [
      {
        mark: { type: 'area', opacity: 0.2 },
        encoding: { y: { field: 'low', type: 'quantitative' }, y2: { field: 'high' } },
      },
      {
        mark: 'line',
        encoding: {
          y: { field: 'middle', type: 'quantitative', title: 'completed work', axis: { format: '%' } },
        },
      },
    ],
    encoding: { x: { ...time, axis: { title: null, labels: false, tickCount: 8 } }, color },
  }
}

function peersPanel(peers: readonly Band[], color: VariantColor, time: TimeAxis): Panels[number] {
  return {
    width: FIGURE_WIDTH,
    height: PANEL_HEIGHT,
    data: { values: [...peers] },
    mark: { type: 'line', interpolate: 'step-after' },
    encoding: {
      x: time,
      y: { field: 'middle', type: 'quantitative', title: 'peers' },
      color,
      strokeDash: {
        field: 'state',
        type: 'nominal',
        title: null,
        sort: ['model loaded', 'up'],
        scale: {
          domain: ['model loaded', 'up'],
          range: [
            [1, 0],
            [3, 3],
          ],
        },
      },
    },
  }
}

/** The remaining work on a logarithmic axis: a steep fall ends quickly, a flat foot is a tail. */
export function tailFigure(variants: readonly Variant[]): Figure {
  const lastS = lastOf(variants)
  const unit = timeUnit(lastS)
  const floor = smallestShare(variants)
  const decades = Array.from({ length: Math.round(-Math.log10(floor)) + 1 }, (_, index) => 10 ** -index)
  const rows = variants.flatMap(({ label, runs }) =>
    runs.flatMap((run) =>
      grid(run.makespanS).map((timeS) => ({
        variant: label,
        run: run.seed,
        time: timeS / unit.size,
        remaining: Math.max(REMAINING_MIN, 1 - doneAt(run, timeS)),
      })),
    ),
  )
  return {
    id: 'tail',
    title: 'The tail: work left to do',
    caption:
      'One line per run, on a logarithmic axis. A line that turns flat near its end waits for stragglers.',
    spec: {
      width: FIGURE_WIDTH,
      height: PANEL_HEIGHT + 40,
      data: { values: rows },
      mark: {
        type: 'line',
        opacity: hasRepetitions(variants) ? 0.8 : 1,
        interpolate: 'step-after',
        clip: true,
      },
      encoding: {
        x: timeAxis(unit),
        y: {
          field: 'remaining',
          type: 'quantitative',
          title: 'share of work left',
          scale: { type: 'log', domain: [floor, 1] },
          axis: { format: '~%', values: decades },
        },
        detail: { field: 'run', type: 'nominal' },
        color: colorOf(variants),
      },
    },
  }
}

/** How long after it joined each peer gave its first result. */
export function startUpFigure(variants: readonly Variant[]): Figure | undefined {
  const rows = variants.flatMap(({ label, runs }) => {
    const lags = runs.flatMap(({ peers }) => peers.flatMap((peer) => peer.firstResultAfterS ?? []))
    if (lags.length === 0) return []
    return Array.from({ length: 101 }, (_, index) => ({
      variant: label,
      lag: quantile(lags, index / 100),
      share: index / 100,
    }))
  })
  if (rows.length === 0) return undefined
  const lags = rows.map(({ lag }) => lag)
  const unit = timeUnit(quantile(lags, 0.5))
  return {
    id: 'start-up',
    title: 'Start-up: from joining to the first result',
    caption: 'The share of the peers that ever gave a result which had given their first by then.',
    spec: {
      width: FIGURE_WIDTH,
      height: PANEL_HEIGHT + 20,
      data: { values: rows.map(({ lag, ...row }) => ({ ...row, lag: lag / unit.size })) },
      mark: 'line',
      encoding: {
        x: {
          field: 'lag',
          type: 'quantitative',
          title: `time since the peer joined (${unit.label})`,
          // Some peers get their first work hours later, so the axis is logarithmic.
          scale: quantile(lags, 0.98) > 20 * quantile(lags, 0.02) ? { type: 'log' } : { zero: true },
        },
        y: { field: 'share', type: 'quantitative', title: 'peers with a result', axis: { format: '%' } },
        color: colorOf(variants),
        order: { field: 'share', type: 'quantitative' },
      },
    },
  }
}

interface TimeAxis {
  field: 'time'
  type: 'quantitative'
  title: string
  axis: { tickCount: number; format: string }
}

function timeAxis(unit: Unit): TimeAxis {
  return {
    field: 'time',
    type: 'quantitative',
    title: `time (${unit.label})`,
    axis: { tickCount: 8, format: '~r' },
  }
}

interface VariantColor {
  field: string
  type: 'nominal'
  title: null
  sort: null
  legend: { symbolType: 'stroke'; symbolOpacity: 1; columns: number } | null
}

/** One colour per variant, in their order; a single one needs no legend. */
export function colorOf(variants: readonly Variant[]): VariantColor {
  const legend =
    variants.length > 1
      ? ({ symbolType: 'stroke', symbolOpacity: 1, columns: legendColumns(variants) } as const)
      : null
  return { field: 'variant', type: 'nominal', title: null, sort: null, legend }
}

/** As many names side by side as leave room for a second legend. */
function legendColumns(variants: readonly Variant[]): number {
  const longest = Math.max(...variants.map(({ label }) => label.length))
  return Math.max(1, Math.floor((FIGURE_WIDTH - LEGEND_REST) / (longest * LETTER_WIDTH + LEGEND_GAP)))
}

export function hasRepetitions(variants: readonly Variant[]): boolean {
  return variants.some(({ runs }) => runs.length > 1)
}

function lastOf(variants: readonly Variant[]): number {
  return Math.max(...variants.flatMap(({ runs }) => runs.map(({ makespanS }) => makespanS)))
}

/** One step below the smallest piece of work, so that each line falls through the floor at its end. */
function smallestShare(variants: readonly Variant[]): number {
  const most = Math.max(...variants.flatMap(({ runs }) => runs.map(({ tasks }) => tasks.count)))
  return Math.max(REMAINING_MIN, 10 ** -Math.ceil(Math.log10(Math.max(10, most))))
}

function grid(lastS: number): number[] {
  return Array.from({ length: POINTS + 1 }, (_, index) => (lastS * index) / POINTS)
}

/** The middle and the outer tenths over the runs of a variant, at the points of the grid. */
function bands(
  { label, runs }: Variant,
  lastS: number,
  unit: Unit,
  valueOf: (run: RunResult, timeS: number) => number,
): Band[] {
  // A run that has ended stays in the picture until half of them have; then the line stops.
  const endS = quantile(
    runs.map(({ makespanS }) => makespanS),
    0.5,
  )
  const times = [...grid(lastS).filter((timeS) => timeS < endS), endS]
  return times.map((timeS) => {
    const values = runs.map((run) => valueOf(run, Math.min(timeS, run.makespanS)))
    return {
      variant: label,
      time: timeS / unit.size,
      low: quantile(values, 0.05),
      middle: quantile(values, 0.5),
      high: quantile(values, 0.95),
    }
  })
}

/** The value of a column at a time: that of the last row at or before it. */
function valueAt({ stepS, timeS: times }: Series, values: readonly number[], timeS: number): number {
  const row = Math.floor((timeS - (times[0] ?? 0)) / stepS + 1e-9)
  return values[Math.min(times.length - 1, Math.max(0, row))] ?? 0
}

/** The share of its work that a run has done at a time, straight between the rows of its series. */
function doneAt({ work, series, makespanS }: RunResult, timeS: number): number {
  if (timeS >= makespanS) return work.completed / Math.max(1, work.total)
  const { stepS, timeS: times, completed } = series
  const before = valueAt(series, completed, timeS)
  const into = (timeS - (times[0] ?? 0)) / stepS
  const after = Math.max(before, valueAt(series, completed, timeS + stepS))
  return (before + (after - before) * (into - Math.floor(into + 1e-9))) / Math.max(1, work.total)
}
