// The experiment of the paper (arXiv 2509.13201, its pv1 to pv5) on four peer processes of this machine with the
// embedded model, one request at a time on each as there: what is kept of a context (docs/evaluation.md) against
// how many requests are given out at a time. A fifth peer has the model and takes no work.
import type { Bench, BenchOptions } from './support/bench.ts'
import { metricOf, type Metric, type Wanted } from './support/harness.ts'
import { EvaluationSwarm, type Drained, type EvaluationMode } from './support/evaluation-swarm.ts'

const PEERS = 4
const LEASE_SIZES = [1, 10, 100, 1_000] as const
/** With leases of 1,000 all peers are to have the same number of them. The whole takes a quarter of an hour a run. */
const REQUESTS_STEP = PEERS * 1_000
const PERVASIVE_SECONDS_MIN = 32
/** Leases that are run where all of them would take hours; the rest is reckoned. */
const LEASES_RUN: Readonly<Record<number, number>> = { 1: 24, 10: 16, 100: 12, 1_000: 8 }
const DRAIN_BEFORE_MS = 60_000
const DRAIN_EVERY_MS = 15_000

interface Plan {
  sizes: readonly number[]
  /** The requests of each run; undefined: as many as take long enough. */
  requests: number | undefined
  leasesRun: (size: number) => number
  drainBeforeMs: number
  drainEveryMs: number
}

const WHOLE: Plan = {
  sizes: LEASE_SIZES,
  requests: undefined,
  leasesRun: (size) => LEASES_RUN[size] ?? PEERS,
  drainBeforeMs: DRAIN_BEFORE_MS,
  drainEveryMs: DRAIN_EVERY_MS,
}
const QUICK: Plan = {
  sizes: [1, 10],
  requests: 80,
  leasesRun: () => PEERS,
  drainBeforeMs: 3_000,
  drainEveryMs: 500,
}

/** Seconds by mode and lease size, as a key `mode@size`. */
type Makespans = Map<string, number[]>

class Paper {
  readonly makespans: Makespans = new Map()
  /** The requests that were run, for a makespan that is extrapolated. */
  readonly requestsRun = new Map<string, number>()
  readonly drains = new Map<string, Drained[]>()
  readonly #plan: Plan
  readonly #note: (line: string) => void
  requests = 0

  constructor(plan: Plan, note: (line: string) => void) {
    this.#plan = plan
    this.#note = note
    this.requests = plan.requests ?? 0
  }

  /** Each figure once more. */
  async round(): Promise<void> {
    for (const mode of ['pervasive', 'partial', 'none'] as const) await this.#runMode(mode)
    for (const [mode, size] of [
      ['partial', 1_000],
      ['pervasive', 100],
      ['pervasive', undefined],
    ] as const)
      await this.#drain(mode, size)
  }

  async #runMode(mode: EvaluationMode): Promise<void> {
    const swarm = await EvaluationSwarm.start(PEERS, mode)
    try {
      if (mode === 'pervasive') await this.#warmUp(swarm)
      for (const size of this.#plan.sizes) {
        const leases = this.#plan.leasesRun(size)
        const requests = mode === 'pervasive' ? this.requests : Math.min(this.requests, leases * size)
        this.#note(`${mode}, lease size ${size}: ${requests} requests`)
        const seconds = await swarm.secondsOf(requests, size)
        add(this.makespans, `${mode}@${size}`, (seconds * this.requests) / requests)
        this.requestsRun.set(`${mode}@${size}`, requests)
      }
    } finally {
      await swarm.stop()
    }
  }

  /** Loads the model everywhere, and finds out how many requests take long enough. */
  async #warmUp(swarm: EvaluationSwarm): Promise<void> {
    this.#note('pervasive: warming up')
    await swarm.secondsOf(PEERS * 20, 1)
    if (this.requests > 0) return
    const probe = PEERS * 250
    const rate = probe / (await swarm.secondsOf(probe, 10))
    this.requests = REQUESTS_STEP * Math.max(1, Math.ceil((rate * PERVASIVE_SECONDS_MIN) / REQUESTS_STEP))
  }

  async #drain(mode: EvaluationMode, size: number | undefined): Promise<void> {
    const { drainBeforeMs, drainEveryMs } = this.#plan
    const key = size === undefined ? 'production (credit)' : `${mode}@${size}`
    this.#note(`drain, ${key}`)
    const swarm = await EvaluationSwarm.start(PEERS, mode)
    try {
      add(this.drains, key, await swarm.drain(size, drainBeforeMs, drainEveryMs))
    } finally {
      await swarm.stop()
    }
  }

  metrics(): Metric[] {
    return [...this.#makespanRows(), ...this.#ratioRows(), ...this.#drainRows()]
  }

  *#makespanRows(): Generator<Metric> {
    for (const [key, values] of this.makespans) {
      const run = this.requestsRun.get(key) ?? 0
      const how = run === this.requests ? '' : `, reckoned from ${run}`
      yield metricOf(
        { name: `makespan of ${this.requests} requests, ${key}${how}`, unit: 's', better: 'lower' },
        values,
      )
    }
  }

  *#ratioRows(): Generator<Metric> {
    yield this.#spread('pervasive', { bound: 12 }, '12')
    yield this.#spread('partial', {}, '4,306')
    yield this.#ratio('none@1', 'pervasive@1', { bound: 30 })
    yield this.#ratio('partial@1', 'pervasive@1', {}, '43')
    if (!this.makespans.has('none@100')) return
    yield this.#ratio('none@100', 'pervasive@100', {}, '3.5')
    yield this.#ratio('partial@100', 'pervasive@100', {}, '1.8')
  }

  /** By how much the slowest lease size is slower than the fastest. */
  #spread(mode: EvaluationMode, goal: Partial<Wanted>, inPaper: string): Metric {
    const bySize = [...this.makespans]
      .filter(([key]) => key.startsWith(`${mode}@`))
      .map(([, values]) => values)
    const spreads = (bySize[0] ?? []).map((_, round) => {
      const seconds = bySize.map((values) => values[round] ?? Number.NaN)
      return 100 * (Math.max(...seconds) / Math.min(...seconds) - 1)
    })
    const name = `${mode}: slowest lease size over the fastest (paper: ${inPaper} %)`
    return metricOf({ name, unit: '%', better: 'lower', ...goal }, spreads)
  }

  #ratio(slow: string, fast: string, goal: Partial<Wanted>, inPaper?: string): Metric {
    const below = this.makespans.get(fast) ?? []
    const values = (this.makespans.get(slow) ?? []).map(
      (seconds, round) => seconds / (below[round] ?? Number.NaN),
    )
    const paper = inPaper === undefined ? '' : ` (paper: ${inPaper})`
    return metricOf({ name: `${slow} / ${fast}${paper}`, unit: '×', better: 'higher', ...goal }, values)
  }

  *#drainRows(): Generator<Metric> {
    for (const [key, drained] of this.drains) {
      yield metricOf(
        { name: `drain, ${key}: requests lost with each peer that is killed`, unit: '', better: 'lower' },
        drained.map(({ lost }) => lost / PEERS),
      )
    }
    const done = (key: string): number[] => (this.drains.get(key) ?? []).map(({ committed }) => committed)
    const partial = done('partial@1000')
    for (const [key, paper] of [
      ['pervasive@100', ' (paper: 1.37)'],
      ['production (credit)', ''],
    ] as const) {
      yield metricOf(
        {
          name: `drain: done until the last peer is gone, ${key} / partial@1000${paper}`,
          unit: '×',
          better: 'higher',
        },
        done(key).map((committed, round) => committed / Math.max(1, partial[round] ?? 0)),
      )
    }
  }
}

function add<T>(map: Map<string, T[]>, key: string, value: T): void {
  map.set(key, [...(map.get(key) ?? []), value])
}

async function run({ quick, runs, note }: BenchOptions): Promise<Metric[]> {
  const paper = new Paper(quick ? QUICK : WHOLE, note)
  for (let round = 0; round < runs; round += 1) await paper.round()
  return paper.metrics()
}

const bench: Bench = {
  question: "What does it cost to load the model again and again: the paper's experiment, live?",
  run,
}
export default bench
