// How fast the simulator is with the real cores: events per second, whole scenarios, and what an event costs in
// swarms of different size. Each run is a process of its own, but for the pairs, which threads share.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { runMany } from '../sim/runs/run-many.ts'
import type { RunRequest } from '../sim/runs/run.ts'
import type { Bench, BenchOptions } from './support/bench.ts'
import { metricOf, type Metric, type Wanted } from './support/harness.ts'
import type { SimulatedRun } from './support/simulate-main.ts'

const MAIN = join(import.meta.dirname, 'support/simulate-main.ts')
const RUN_MS_MAX = 1_800_000
const PEERS = 10_000
const DAY_S = 86_400
/** The values of soak-10k-week for 10,000 peers and a week. */
const JOBS = 64
const JOB_INFERENCES = 360_000_000

interface Figure {
  wanted: Wanted
  of: (runs: readonly SimulatedRun[]) => number[]
}

/** A scenario, or a part of it, and what is read off its runs. */
interface Course {
  name: string
  request: RunRequest
  figures: Figure[]
}

/**
 * soak-10k-week with another number of peers and another horizon, and as much work for each peer and hour; or
 * only the beginning of its week, in which no job comes to its end.
 */
function soak(peers: number, horizonS: number, part: 'whole' | 'beginning'): RunRequest {
  const jobs = Math.max(1, Math.round((JOBS * peers) / PEERS))
  const workS = part === 'whole' ? horizonS : 7 * DAY_S
  const inferences = Math.round((JOB_INFERENCES * JOBS * peers * workS) / (jobs * PEERS * 7 * DAY_S))
  const settings = [
    `peers.0.count=${peers}`,
    `horizonS=${horizonS}`,
    `jobs.0.count=${jobs}`,
    `jobs.0.inferences=${inferences}`,
  ]
  return { scenario: 'soak-10k-week', settings, seed: 1 }
}

const seconds: Figure['of'] = (runs) => runs.map(({ wallS }) => wallS)
const usPerEvent: Figure['of'] = (runs) => runs.map(({ wallS, events }) => (1e6 * wallS) / events)
const perSecond: Figure['of'] = (runs) => runs.map(({ wallS, events }) => events / wallS)

/** About as many events each, so that what the process warms up for weighs as much. */
function sizes(quick: boolean): Course[] {
  const scale = quick ? 0.02 : 1
  const hours = [168, 16.8, 1.68].map((each) => (quick ? each / 4 : each))
  return [1_000, 10_000, 100_000].map((peers, index) => ({
    name: `${peers.toLocaleString('en')} peers`,
    request: soak(Math.round(peers * scale), Math.round((hours[index] as number) * 3600), 'beginning'),
    figures: [
      {
        wanted: { name: `${peers.toLocaleString('en')} peers: one event`, unit: 'µs', better: 'lower' },
        of: usPerEvent,
      },
      ...(peers === PEERS
        ? [
            {
              wanted: {
                name: '10,000 peers: events with the real cores',
                unit: '/s',
                better: 'higher' as const,
                bound: 500_000,
                toward: 2_000_000,
              },
              of: perSecond,
            },
          ]
        : []),
    ],
  }))
}

function scenarios(quick: boolean): Course[] {
  const small = quick ? ['peers.0.count=200', 'jobs.0.count=2', 'horizonS=7200'] : []
  return [
    {
      name: 'soak-10k-week',
      request: { scenario: 'soak-10k-week', settings: small, seed: 1 },
      figures: [
        {
          wanted: {
            name: '10,000 peers, a week of batches of 600 s',
            unit: 's',
            better: 'lower',
            bound: 30,
            toward: 15,
          },
          of: seconds,
        },
      ],
    },
    {
      name: 'scale-100k-day',
      request: { scenario: 'scale-100k-day', settings: small, seed: 1 },
      figures: [
        {
          wanted: { name: '100,000 peers, a day', unit: 's', better: 'lower', bound: 600, toward: 300 },
          of: seconds,
        },
        {
          wanted: {
            name: '100,000 peers, a day: memory',
            unit: 'GB',
            better: 'lower',
            bound: 2,
            toward: 1.5,
          },
          of: (runs) => runs.map(({ peakBytes }) => peakBytes / 1e9),
        },
      ],
    },
  ]
}

async function simulate(request: RunRequest): Promise<SimulatedRun> {
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN, JSON.stringify(request)], {
    timeout: RUN_MS_MAX,
  })
  const run = JSON.parse(stdout) as SimulatedRun
  if (run.broken.length > 0) throw new Error(`checks that did not hold: ${run.broken.join(', ')}`)
  return run
}

async function measure(course: Course, { runs, note }: BenchOptions): Promise<Metric[]> {
  const done: SimulatedRun[] = []
  for (let index = 0; index < runs; index += 1) {
    const run = await simulate(course.request)
    note(`${course.name}: ${run.events} events, ${run.tasks} requests in ${run.wallS.toFixed(1)} s`)
    done.push(run)
  }
  return course.figures.map(({ wanted, of }) => metricOf(wanted, of(done)))
}

/** A policy against another on the same seeds: with two copies at the tail, and with none. */
async function pairs({ quick, note }: BenchOptions): Promise<Metric> {
  const reps = quick ? 2 : 30
  const { scenario, settings } = soak(quick ? 50 : 1_000, quick ? 3_600 : DAY_S, 'whole')
  const requests = Array.from({ length: 2 * reps }, (_, index) => ({
    scenario,
    settings: [...settings, `coordinator.copiesMax=${1 + (index % 2)}`],
    seed: 1 + (index >> 1),
  }))
  const began = performance.now()
  await runMany(requests, 2, (done) => note(`pairs: ${done} of ${requests.length} runs`))
  const wanted = {
    name: '1,000 peers, a day: 30 paired repetitions on 2 cores',
    unit: 's',
    better: 'lower' as const,
    bound: 60,
  }
  return metricOf(wanted, [(performance.now() - began) / 1000])
}

async function run(options: BenchOptions): Promise<Metric[]> {
  const { quick, only } = options
  const isWanted = (name: string): boolean => only === undefined || name.includes(only)
  const metrics: Metric[] = []
  for (const course of [...sizes(quick), ...scenarios(quick)]) {
    if (isWanted(course.name)) metrics.push(...(await measure(course, options)))
  }
  if (isWanted('pairs')) metrics.push(await pairs(options))
  return metrics
}

const bench: Bench = { question: 'How fast is the simulator, and does a larger swarm make it slower?', run }
export default bench
