import type { RunResult } from '../runs/result/run-result.ts'
import { meanEstimate, type Estimate } from '../statistics/intervals.ts'
import { mean } from '../statistics/summary.ts'
import { colorOf, hasRepetitions } from './progress-figures.ts'
import type { Figure, Layers } from './render.ts'
import { FIGURE_WIDTH, GPU_PARTS, LETTER_WIDTH, PANEL_HEIGHT } from './theme.ts'
import { byteUnit, timeUnit } from './units.ts'
import type { Variant } from './variants.ts'

const ROW_HEIGHT = 34
/** Widths of row names, px: the widest, and the width that takes no room from the bars. */
const LABEL_WIDTH_MAX = 380
const LABEL_WIDTH_USUAL = 100

/** A part of a bar with less than this share has no room for its number. */
const LABELLED_SHARE_MIN = 0.045

/** Bars of parts, and the number of each part that has room for it. */
const GPU_LAYERS: Layers = [
  {
    mark: { type: 'bar', height: ROW_HEIGHT - 12 },
    encoding: {
      x: {
        field: 'from',
        type: 'quantitative',
        title: 'share of GPU time',
        axis: { format: '%', tickCount: 5 },
        scale: { domain: [0, 1] },
      },
      x2: { field: 'to' },
      color: {
        field: 'part',
        type: 'nominal',
        title: null,
        scale: {
          domain: GPU_PARTS.map(({ label }) => label),
          range: GPU_PARTS.map(({ color }) => color),
        },
      },
    },
  },
  {
    transform: [
      { filter: `datum.share >= ${LABELLED_SHARE_MIN}` },
      { calculate: '(datum.from + datum.to) / 2', as: 'center' },
    ],
    mark: { type: 'text', color: '#101418', fontSize: 12 },
    encoding: {
      x: { field: 'center', type: 'quantitative' },
      text: { field: 'share', type: 'quantitative', format: '.0%' },
    },
  },
]

/** The parts of the GPU-seconds that peers were up for. */
export function gpuFigure(variants: readonly Variant[]): Figure {
  const rows = variants.flatMap(({ label, runs }) => {
    const total = mean(runs.map(({ gpuS }) => gpuS.up))
    let from = 0
    return GPU_PARTS.map(({ part, label: words }) => {
      const share = total === 0 ? 0 : mean(runs.map(({ gpuS }) => gpuS[part])) / total
      const row = { variant: label, part: words, from, to: from + share, share }
      from += share
      return row
    })
  })
  const encoding = {
    y: {
      field: 'variant',
      type: 'nominal',
      title: null,
      sort: null,
      axis: { domain: false, ticks: false, labelLimit: LABEL_WIDTH_MAX },
    },
  } as const
  return {
    id: 'gpu-seconds',
    title: 'Where the GPU-seconds went',
    caption: `Of all seconds that GPUs were up${hasRepetitions(variants) ? ', means over the runs' : ''}. Lost work was computed and never committed.`,
    spec: {
      width: rowWidth(variants),
      height: { step: ROW_HEIGHT },
      data: { values: rows },
      encoding,
      layer: GPU_LAYERS,
    },
  }
}

/** How long each variant took: each run, and the mean with its interval. One run alone is no picture. */
export function makespanFigure(variants: readonly Variant[]): Figure | undefined {
  if (variants.length === 1 && !hasRepetitions(variants)) return undefined
  const unit = timeUnit(Math.max(...variants.flatMap(({ runs }) => runs.map(({ makespanS }) => makespanS))))
  const runs = variants.flatMap(({ label, runs }) =>
    runs.map(({ makespanS }) => ({ variant: label, time: makespanS / unit.size })),
  )
  const means = variants.map(({ label, runs }) => ({
    variant: label,
    ...finite(meanEstimate(runs.map(({ makespanS }) => makespanS / unit.size))),
  }))
  const color = { ...colorOf(variants), legend: null }
  return {
    id: 'makespan',
    title: 'Time to finish all the work',
    caption: hasRepetitions(variants)
      ? 'Small strokes are runs; the dot is their mean, the bar its 95 % interval (Student).'
      : 'One run each; run more repetitions (--reps) for intervals.',
    spec: {
      width: rowWidth(variants),
      height: { step: ROW_HEIGHT },
      encoding: {
        y: {
          field: 'variant',
          type: 'nominal',
          title: null,
          sort: null,
          axis: { labelLimit: LABEL_WIDTH_MAX, grid: true },
        },
        color,
      },
      layer: [
        {
          data: { values: runs },
          mark: { type: 'tick', thickness: 1.5, opacity: 0.45, height: ROW_HEIGHT - 18 },
          encoding: { x: { field: 'time', type: 'quantitative', scale: { zero: true } } },
        },
        {
          data: { values: means },
          mark: { type: 'rule', strokeWidth: 3 },
          encoding: { x: { field: 'low', type: 'quantitative' }, x2: { field: 'high' } },
        },
        {
          data: { values: means },
          mark: { type: 'point', filled: true, size: 90, opacity: 1 },
          encoding: {
            x: {
              field: 'value',
              type: 'quantitative',
              title: `makespan (${unit.label})`,
              axis: { tickCount: 8, format: '~r' },
            },
          },
        },
      ],
    },
  }
}

/** The cost of copies in bytes and their gain in availability, where their number was varied. */
export function replicationFigure(variants: readonly Variant[], parameter: string): Figure | undefined {
  const rows = variants.flatMap(({ parameters, runs }) => {
    const degree = parameters[parameter]
    return typeof degree === 'number' ? [{ degree, runs }] : []
  })
  if (new Set(rows.map(({ degree }) => degree)).size < 2) return undefined
  const unit = byteUnit(
    Math.max(...rows.flatMap(({ runs }) => runs.map(({ bytes }) => bytes.fromPeers + bytes.fromOrigin))),
  )
  const panel = (title: string, format: string, words: string, of: (run: RunResult) => number): object => ({
    width: FIGURE_WIDTH / 2 - 40,
    height: PANEL_HEIGHT,
    data: {
      // Neither bytes nor shares of time are ever negative.
      values: rows.map(({ degree, runs }) => {
        const { value, low, high } = finite(meanEstimate(runs.map(of)))
        return { degree, value, low: Math.max(0, low), high }
      }),
    },
    encoding: { x: { field: 'degree', type: 'ordinal', title: 'copies kept', axis: { labelAngle: 0 } } },
    layer: [
      { mark: { type: 'line', opacity: 0.5 }, encoding: { y: { field: 'value', type: 'quantitative' } } },
      {
        mark: { type: 'rule', strokeWidth: 3 },
        encoding: { y: { field: 'low', type: 'quantitative' }, y2: { field: 'high' } },
      },
      {
        mark: { type: 'point', filled: true, size: 90, opacity: 1 },
        encoding: { y: { field: 'value', type: 'quantitative', title, axis: { format } } },
      },
      {
        mark: { type: 'text', align: 'left', dx: 7, dy: -9, fontSize: 11, color: 'currentColor' },
        encoding: {
          y: { field: 'value', type: 'quantitative' },
          text: { field: 'value', type: 'quantitative', format: words },
        },
      },
    ],
  })
  const moved = panel(
    `bytes moved (${unit.label})`,
    '~s',
    '.2~r',
    ({ bytes }) => (bytes.fromPeers + bytes.fromOrigin) / unit.size,
  )
  const absent = panel(
    'time without a live copy',
    '~%',
    '.2~p',
    ({ contexts }) => 1 - mean(contexts.map(({ availability }) => availability)),
  )
  return {
    id: 'replication',
    title: 'What copies cost, and what they buy',
    caption:
      'Means over the runs with 95 % intervals: all bytes that were moved, and the share of time in which nobody who was up held the context.',
    spec: { spacing: 48, hconcat: [moved, absent] } as Figure['spec'],
  }
}

/** The width left for bars next to their labels, so that all figures are equally wide. */
function rowWidth(variants: readonly Variant[]): number {
  const longest = Math.max(...variants.map(({ label }) => label.length))
  return FIGURE_WIDTH - Math.max(0, Math.min(LABEL_WIDTH_MAX, longest * LETTER_WIDTH) - LABEL_WIDTH_USUAL)
}

/** An interval as drawn: without one, nothing but the point. */
function finite({ value, low, high }: Estimate): Estimate {
  return { value, low: Number.isFinite(low) ? low : value, high: Number.isFinite(high) ? high : value }
}
