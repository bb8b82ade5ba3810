import type { RunResult } from '../runs/result/run-result.ts'
import type { Figure } from './render.ts'
import { FIGURE_WIDTH, PALETTE, PANEL_HEIGHT } from './theme.ts'
import { timeUnit } from './units.ts'

/** A published or a live run: how much was done by a time, and how many workers there were, where that is known. */
export interface MeasuredPoint {
  timeS: number
  workers?: number
  inferences: number
}

const SIMULATED = 'simulated'

/** How the measured run is called, and what is said of both. */
export interface CourseWords {
  measured: string
  caption: string
}

const PUBLISHED: CourseWords = {
  measured: 'published',
  caption: 'The number of peers is given to the simulation; what they get done is not.',
}

/** How a measured run went, and how the simulated ones did, a line for each seed. */
export function courseFigure(
  run: string,
  measured: readonly MeasuredPoint[],
  simulated: readonly RunResult[],
  words: CourseWords = PUBLISHED,
): Figure {
  const unit = timeUnit(Math.max(...measured.map(({ timeS }) => timeS)))
  const rows = [
    ...measured.map((point) => ({
      who: words.measured,
      line: words.measured,
      time: point.timeS / unit.size,
      done: point.inferences,
      ...(point.workers === undefined ? {} : { peers: point.workers }),
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
      y: { field, type: 'quantitative', title, axis: { format: ',d' } },
      detail: { field: 'line' },
      color: {
        field: 'who',
        type: 'nominal',
        title: null,
        scale: { domain: [words.measured, SIMULATED], range: [PALETTE[6], PALETTE[1]] },
      },
    },
  })
  return {
    id: `course-${run}`,
    title: `${run}: how it went, ${words.measured} and simulated`,
    caption: words.caption,
    spec: {
      spacing: 16,
      vconcat: [panel('done', 'inferences done', false), panel('peers', 'peers up', true)],
    } as Figure['spec'],
  }
}
