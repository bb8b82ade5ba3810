// Peers of different speed, and peers that freeze, die and come anew: how much longer a job takes than if all
// that is there were busy until its very end.
import { sleep } from '../src/base/clock.ts'
import { systemClock } from '../src/base/system-clock.ts'
import type { Journal } from '../src/tasks/journal/journal.ts'
import type { Bench, BenchOptions } from './support/bench.ts'
import { metricOf, type Metric, type Wanted } from './support/harness.ts'
import { TaskSwarm, type TaskPeerOptions } from './support/task-swarm.ts'

const SLOTS = 8
const LOOK_EVERY_MS = 50
const EQUAL_PEERS = 10
/** The share of them killed in a minute. */
const KILLED_SHARE = 0.3

/** Requests a second of one slot, by peer, from what its engine really took: timers on a busy machine are late. */
function slotRates(journal: Journal): Map<string, number> {
  const took = new Map<string, { ms: number; results: number }>()
  for (const { peer, body } of journal.lines()) {
    const sum = took.get(peer) ?? { ms: 0, results: 0 }
    const { engineMs } = JSON.parse(body) as { engineMs: number }
    took.set(peer, { ms: sum.ms + engineMs, results: sum.results + 1 })
  }
  return new Map([...took].map(([peer, { ms, results }]) => [peer, (1_000 * results) / ms]))
}

/** Rates 1 : 2 : 4 : 8. The makespan over that of an ideal run; `freezesAt` is the share of the job after which the slowest freezes. */
async function runEightfold(fastestMs: number, seconds: number, freezesAt?: number): Promise<number> {
  const peers: TaskPeerOptions[] = [8, 4, 2, 1].map((times) => ({
    engineMs: fastestMs * times,
    slots: SLOTS,
  }))
  const requests = Math.round(
    peers.reduce((sum, { engineMs }) => sum + (SLOTS * 1_000 * seconds) / engineMs, 0),
  )
  const swarm = await TaskSwarm.start(peers)
  try {
    using journal = await swarm.makeJournal('job', requests)
    const slowest = swarm.peers.find(({ engineMs }) => engineMs === fastestMs * 8)?.peer ?? ''
    const freezing =
      freezesAt === undefined ? undefined : freezeAt(swarm, slowest, journal, freezesAt * requests)
    const took = await swarm.secondsOf(journal)
    await freezing
    const rate = [...slotRates(journal).values()].reduce((sum, perSecond) => sum + SLOTS * perSecond, 0)
    return (took * rate) / requests
  } finally {
    await swarm.stop()
  }
}

async function freezeAt(swarm: TaskSwarm, peer: string, journal: Journal, committed: number): Promise<void> {
  while (journal.counts().committed < committed) await sleep(systemClock, LOOK_EVERY_MS)
  swarm.freeze(peer)
}

/** Equal peers, killed one after the other and each replaced by a new one at once. The makespan over work / mean live rate. */
async function runChurn(engineMs: number, seconds: number): Promise<number> {
  const peers = Array.from({ length: EQUAL_PEERS }, () => ({ engineMs, slots: SLOTS }))
  const requests = Math.round((EQUAL_PEERS * SLOTS * 1_000 * seconds) / engineMs)
  const swarm = await TaskSwarm.start(peers)
  try {
    using journal = await swarm.makeJournal('job', requests)
    const stop = new AbortController()
    const live = new LiveTime(() => swarm.peers.length)
    const churning = churn(swarm, { engineMs, slots: SLOTS }, live, stop.signal)
    const took = await swarm.secondsOf(journal)
    const peerSeconds = live.end()
    stop.abort()
    await churning
    const perSlot = [...slotRates(journal).values()]
    const rate = (SLOTS * perSlot.reduce((sum, perSecond) => sum + perSecond, 0)) / perSlot.length
    return ((peerSeconds / took) * rate * took) / requests
  } finally {
    await swarm.stop()
  }
}

/** Peer-seconds, as peers come and go. */
class LiveTime {
  readonly #count: () => number
  #sum = 0
  #atMs: number = performance.now()
  #live: number

  constructor(count: () => number) {
    this.#count = count
    this.#live = count()
  }

  /** To be called after the number of peers has changed. */
  changed(): void {
    const nowMs = performance.now()
    this.#sum += ((nowMs - this.#atMs) / 1_000) * this.#live
    this.#atMs = nowMs
    this.#live = this.#count()
  }

  end(): number {
    this.changed()
    return this.#sum
  }
}

async function churn(
  swarm: TaskSwarm,
  fresh: TaskPeerOptions,
  live: LiveTime,
  signal: AbortSignal,
): Promise<void> {
  const everyMs = 60_000 / (EQUAL_PEERS * KILLED_SHARE)
  const coming: Promise<void>[] = []
  try {
    for (;;) {
      await sleep(systemClock, everyMs / 2, signal)
      const [oldest] = swarm.peers
      if (oldest !== undefined) swarm.kill(oldest.peer)
      live.changed()
      coming.push(swarm.add(fresh).then(() => live.changed()))
      await sleep(systemClock, everyMs / 2, signal)
    }
  } catch {
    await Promise.all(coming)
  }
}

async function run({ quick, runs, only, note }: BenchOptions): Promise<Metric[]> {
  const [fastestMs, seconds] = quick ? [10, 2] : [100, 30]
  const figures: { wanted: Wanted; measure: () => Promise<number> }[] = [
    {
      wanted: {
        name: 'makespan on 4 peers with rates 1 : 2 : 4 : 8 / the ideal',
        unit: '',
        better: 'lower',
        bound: 1.03,
        toward: 1.01,
      },
      measure: () => runEightfold(fastestMs, seconds),
    },
    {
      wanted: {
        name: 'the same, the slowest frozen when 95 % are done',
        unit: '',
        better: 'lower',
        bound: 1.1,
        toward: 1.05,
      },
      measure: () => runEightfold(fastestMs, seconds, 0.95),
    },
    {
      wanted: {
        name: '30 % of 10 peers killed a minute and replaced: makespan / (work / mean live rate)',
        unit: '',
        better: 'lower',
        bound: 1.1,
        toward: 1.05,
      },
      measure: () => runChurn(4 * fastestMs, quick ? seconds : 60),
    },
  ]
  const metrics: Metric[] = []
  for (const { wanted, measure } of figures) {
    if (only !== undefined && !wanted.name.includes(only)) continue
    const values: number[] = []
    for (let index = 0; index < runs; index += 1) {
      note(`${wanted.name}: ${index + 1} of ${runs}`)
      values.push(await measure())
    }
    metrics.push(metricOf(wanted, values))
  }
  return metrics
}

const bench: Bench = {
  question: 'How busy are peers of different speed, and those that die, until the end of a job?',
  run,
}
export default bench
