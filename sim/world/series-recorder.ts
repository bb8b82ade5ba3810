import type { Series } from '../runs/result/run-result.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { TAG } from './events/tags.ts'

/** The recorded values. */
export interface Observed {
  readonly kernel: Kernel
  readonly scenario: { stepS?: number | undefined; horizonS: number }
  readonly peers: readonly {
    state: string
    hasWarm: (isWanted: (context: number) => boolean) => boolean
    /** Whether submitters can reach it. */
    isFindable: boolean
  }[]
  readonly jobs: readonly { isOver: boolean; context: number; committedInferences: number }[]
  readonly ledger: { copies: (context: number) => number }
  readonly bytes: { fromOrigin: number; fromPeers: number }
}

const POINTS_DEFAULT = 200

/** Looks at the world in equal steps of time. */
export class SeriesRecorder {
  readonly #world: Observed
  readonly #stepS: number
  readonly series: Series

  constructor(world: Observed) {
    this.#world = world
    this.#stepS = world.scenario.stepS ?? world.scenario.horizonS / POINTS_DEFAULT
    this.series = {
      stepS: this.#stepS,
      timeS: [],
      livePeers: [],
      readyPeers: [],
      completed: [],
      replicas: [],
      bytesFromOrigin: [],
      bytesFromPeers: [],
    }
  }

  start(): void {
    this.#sampleLater()
  }

  /** The first point: to be taken once the events of time 0 have run, which bring the first peers. */
  begin(): void {
    this.#sample()
  }

  /** The last point is the end of the run. */
  end(): void {
    if (this.series.timeS.at(-1) !== this.#world.kernel.nowS) this.#sample()
  }

  #sampleLater(): void {
    this.#world.kernel.after(this.#stepS * 1e6, TAG.sample, () => {
      this.#sample()
      this.#sampleLater()
    })
  }

  #sample(): void {
    const { kernel, peers, jobs, bytes, ledger } = this.#world
    const { series } = this
    const wanted = new Set<number>()
    let completed = 0
    for (const job of jobs) {
      completed += job.committedInferences
      if (!job.isOver) wanted.add(job.context)
    }
    const isWanted = (context: number): boolean => wanted.has(context)
    let live = 0
    let ready = 0
    for (const peer of peers) {
      if (peer.state !== 'up') continue
      live += 1
      if (peer.isFindable && peer.hasWarm(isWanted)) ready += 1
    }
    series.timeS.push(kernel.nowS)
    series.livePeers.push(live)
    series.readyPeers.push(ready)
    series.completed.push(completed)
    series.replicas.push(ledger.copies(jobs[0]?.context ?? 0))
    series.bytesFromOrigin.push(Math.round(bytes.fromOrigin))
    series.bytesFromPeers.push(Math.round(bytes.fromPeers))
  }
}
