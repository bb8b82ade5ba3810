import type { GpuMeter } from '../swarm/gpu-meter.ts'
import type { Timer, Timers } from '../events/timers.ts'

/** A request in the engine. */
export interface EngineRun {
  readonly id: number
  readonly engine: { finish(run: EngineRun): void }
  /** Seconds in its slot. */
  readonly seconds: number
  startedUs: number
  /** The timer of its end; undefined until it first has a slot. */
  timer: Timer | undefined
}

/** The user of the engine. */
export interface EngineOwner<Run extends EngineRun> {
  /** `ranUs`: the GPU time that the run took. */
  onRan(run: Run, ranUs: number): void
}

/** The GPU of a peer: so many slots, each as fast as when all are in use; other runs wait their turn. */
export class Engine<Run extends EngineRun> {
  readonly #timers: Timers
  readonly #meter: GpuMeter
  readonly #slots: number
  readonly #owner: EngineOwner<Run>
  /** Those that have a slot, and those that wait, in their order: a few. */
  readonly #running: Run[] = []
  readonly #waiting: Run[] = []

  constructor(timers: Timers, meter: GpuMeter, slots: number, owner: EngineOwner<Run>) {
    this.#timers = timers
    this.#meter = meter
    this.#slots = slots
    this.#owner = owner
  }

  start(run: Run): void {
    if (this.#running.length < this.#slots) this.#begin(run)
    else this.#waiting.push(run)
  }

  /** Returns the run, if it was there. */
  stop(id: number): Run | undefined {
    const waiting = this.#waiting.findIndex((run) => run.id === id)
    if (waiting >= 0) return this.#waiting.splice(waiting, 1)[0]
    const running = this.#running.find((run) => run.id === id)
    if (running !== undefined) this.#end(running)
    return running
  }

  /** The host is gone; the meter is told of what ran. */
  clear(): void {
    this.#waiting.length = 0
    for (let first = this.#running[0]; first !== undefined; first = this.#running[0]) this.#end(first)
  }

  /** Its time is over. */
  finish(run: Run): void {
    this.#owner.onRan(run, this.#end(run))
  }

  #begin(run: Run): void {
    this.#running.push(run)
    run.startedUs = this.#timers.nowUs
    this.#meter.beginRun(run.startedUs)
    if (run.timer === undefined) run.timer = this.#timers.after(run.seconds * 1e6, finish, run)
    else this.#timers.again(run.timer, run.seconds * 1e6)
  }

  /** Frees its slot. Returns the GPU time that it took. */
  #end(run: Run): number {
    if (run.timer !== undefined) this.#timers.cancel(run.timer)
    const ranUs = this.#meter.endRun(run.startedUs, this.#timers.nowUs)
    this.#running.splice(this.#running.indexOf(run), 1)
    const next = this.#waiting.shift()
    if (next !== undefined) this.#begin(next)
    return ranUs
  }
}

function finish(run: EngineRun): void {
  run.engine.finish(run)
}
