import type { RunRequest } from '../runs/run.ts'
import type { RunResult } from '../runs/result/run-result.ts'

/** One figure of the paper beside ours. */
export interface PaperRow {
  run: string
  what: string
  published: number
  /** Mean over the seeds. */
  simulated: number
  /** simulated / published − 1. */
  error: number
  /** The band that `simulated` / `published` should be in. */
  low: number
  high: number
  isInBand: boolean
  /** Whether the constants of base/paper.yaml were chosen with this figure in view. */
  kind: 'fitted' | 'predicted'
}

interface Target {
  run: string
  what: string
  published: number
  band: number | [low: number, high: number]
  kind: PaperRow['kind']
  measure: (results: ReadonlyMap<string, RunResult>) => number
}

/** The runs of the paper: its name for each, our scenario and what to set. pv3_100 and pv4_100 had 19 workers. */
const RUNS: Readonly<Record<string, { scenario: string; settings: string[] }>> = {
  pv0: { scenario: 'pv0', settings: [] },
  pv1: { scenario: 'pv1', settings: [] },
  pv3_1: { scenario: 'pv3', settings: ['batch=1'] },
  pv3_100: { scenario: 'pv3', settings: ['batch=100', 'peers.1.count=9'] },
  pv3_1k: { scenario: 'pv3', settings: ['batch=1000'] },
  pv4_1: { scenario: 'pv4', settings: ['batch=1'] },
  pv4_100: { scenario: 'pv4', settings: ['batch=100', 'peers.1.count=9'] },
  pv5p: { scenario: 'pv5p', settings: [] },
  pv5s: { scenario: 'pv5s', settings: [] },
  pv6: { scenario: 'pv6', settings: [] },
}

const TARGETS: readonly Target[] = [
  ...makespan('pv0', 40_900, 0.02, 'fitted'),
  ...makespan('pv1', 10_400, 0.1, 'fitted'),
  ...makespan('pv3_1', 141_100, 0.05, 'fitted'),
  ...makespan('pv3_100', 5_300, 0.15, 'fitted'),
  ...makespan('pv3_1k', 3_203, 0.15, 'fitted'),
  ...makespan('pv4_1', 3_303, 0.1, 'fitted'),
  ...makespan('pv4_100', 2_942, 0.1, 'fitted'),
  ...makespan('pv6', 783, 0.1, 'fitted'),
  ...([10, 50, 90] as const).map((percent, index): Target => ({
    run: 'pv6',
    what: `${percent} % of the inferences done, s`,
    published: [435, 635, 745][index] as number,
    band: 0.1,
    kind: 'fitted',
    measure: (results) => timeOfShare(of(results, 'pv6'), percent / 100),
  })),
  ...completed('pv5p', 46_100),
  ...completed('pv5s', 62_900),
  {
    run: 'pv5s / pv5p',
    what: 'ratio of the inferences',
    published: 1.365,
    band: [1.25 / 1.365, 1.5 / 1.365],
    kind: 'fitted',
    measure: (results) => of(results, 'pv5s').work.completed / of(results, 'pv5p').work.completed,
  },
  ...taskTimes('pv3_1', 15.1, 27.26, 'fitted'),
  ...taskTimes('pv3_100', 46.78, 32.88, 'fitted'),
  ...taskTimes('pv4_1', 0.32, 0.13, 'fitted'),
  ...taskTimes('pv4_100', 31.91, 9.3, 'fitted'),
  {
    run: 'pv4_100',
    what: 'share of the inferences on A10s',
    published: 0.6,
    band: 0.05,
    kind: 'fitted',
    measure: (results) => shareOn(of(results, 'pv4_100'), 'A10'),
  },
]

/** The runs for `seeds` seeds. */
export function paperRequests(seeds: number): (RunRequest & { run: string })[] {
  return Object.entries(RUNS).flatMap(([run, { scenario, settings }]) =>
    Array.from({ length: seeds }, (_, index) => ({ run, scenario, settings, seed: index + 1 })),
  )
}

/** The table; `results` are those of `paperRequests`, in their order. */
export function paperRows(seeds: number, results: readonly RunResult[]): PaperRow[] {
  const requests = paperRequests(seeds)
  const bySeed = Array.from({ length: seeds }, () => new Map<string, RunResult>())
  for (const [index, { run, seed }] of requests.entries())
    bySeed[seed - 1]?.set(run, results[index] as RunResult)
  return TARGETS.map(({ measure, band, ...target }) => {
    const simulated = bySeed.reduce((sum, result) => sum + measure(result), 0) / seeds
    const [low, high] = typeof band === 'number' ? [1 - band, 1 + band] : band
    const ratio = simulated / target.published
    return { ...target, simulated, error: ratio - 1, low, high, isInBand: ratio >= low && ratio <= high }
  })
}

function makespan(run: string, published: number, band: number, kind: Target['kind']): Target[] {
  return [
    { run, what: 'makespan, s', published, band, kind, measure: (results) => of(results, run).makespanS },
  ]
}

function completed(run: string, published: number): Target[] {
  const measure: Target['measure'] = (results) => of(results, run).work.completed
  return [{ run, what: 'inferences at 2,045 s', published, band: 0.1, kind: 'fitted', measure }]
}

function taskTimes(run: string, meanS: number, sdS: number, kind: Target['kind']): Target[] {
  return [
    {
      run,
      what: 'mean task time, s',
      published: meanS,
      band: 0.1,
      kind,
      measure: (results) => of(results, run).tasks.meanS,
    },
    {
      run,
      what: 'deviation of task times, s',
      published: sdS,
      band: 0.3,
      kind,
      measure: (results) => of(results, run).tasks.sdS,
    },
  ]
}

function of(results: ReadonlyMap<string, RunResult>, run: string): RunResult {
  const result = results.get(run)
  if (result === undefined) throw new RangeError(`there is no run ${run}`)
  return result
}

/** When so much of all work was done, between the points of the series. */
function timeOfShare({ series, work }: RunResult, share: number): number {
  const wanted = share * work.total
  const after = series.completed.findIndex((completed) => completed >= wanted)
  if (after <= 0) return Number.NaN
  const [from = 0, to = 0] = [series.completed[after - 1], series.completed[after]]
  const [fromS = 0, toS = 0] = [series.timeS[after - 1], series.timeS[after]]
  return fromS + ((wanted - from) / (to - from)) * (toS - fromS)
}

function shareOn({ peers }: RunResult, device: string): number {
  let on = 0
  let all = 0
  for (const peer of peers) {
    all += peer.inferences
    if (peer.device === device) on += peer.inferences
  }
  return on / all
}
