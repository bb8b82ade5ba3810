import type { RunResult } from '../run-result.ts'
import type { Figure } from './render.ts'
import { FIGURE_WIDTH, PALETTE, PANEL_HEIGHT } from './theme.ts'
import { timeUnit } from './units.ts'

/** A published run as read off a figure: how many workers there were and how much was done, by time. */
export interface PublishedPoint {
  timeS: number
  workers: number
  inferences: number
}

const PUBLISHED = 'published'
const SIMULATED = 'simulated'

/** How a published run went, and how the simulated ones did, a line for each seed. */
export function courseFigure(
  run: string,
  published: readonly PublishedPoint[],
  simulated: readonly RunResult[],
): Figure {
  const unit = timeUnit(Math.max(...published.map(({ timeS }) => timeS)))
  const rows = [
    ...published.map((point) => ({
      who: PUBLISHED,
      line: PUBLISHED,
      time: point.timeS / unit.size,
      done: point.inferences,
      peers: point.workers,
    })),
    ...simulated.flatMap(({ seed, series, makespanS }) =>
      series.timeS
        .map((timeS, index) => ({
          who: SIMULATED,
          line: String(seed),
          time: timeS / unit.size,
          done: series.completed[index] ?? 0,
          peers: series.livePeers[index] ?? 0,
        }))
        .filter(({ time }) => time * unit.size <= makespanS),
    ),
  ]
  const panel = (field: 'done' | 'peers', title: string, isLast: boolean): object => ({
    width: FIGURE_WIDTH,
    height: PANEL_HEIGHT,
    data: { values: rows },
    mark: { type: 'line', strokeWidth: 2 },
    encoding: {
      x: {
        field: 'time',
        type: 'quantitative',
        title: isLast ? `time (${unit.label})` : null,
        axis: { tickCount: 8, format: '~r', labels: isLast },
      },
      y: { field, type: 'quantitative', title, axis: { format: '~s' } },
      detail: { field: 'line' },
      color: {
        field: 'who',
        type: 'nominal',
        title: null,
        scale: { domain: [PUBLISHED, SIMULATED], range: [PALETTE[6], PALETTE[1]] },
      },
    },
  })
  return {
    id: 'course',
    title: `${run}: how it went, published and simulated`,
    caption: 'The number of peers is given to the simulation; what they get done is not.',
    spec: {
      spacing: 16,
      vconcat: [panel('done', 'inferences done', false), panel('peers', 'peers up', true)],
    } as Figure['spec'],
  }
}
