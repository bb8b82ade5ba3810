import type { GpuMeter } from './gpu-meter.ts'
import type { Timer, Timers } from './timers.ts'

/** A request in the engine. */
export interface EngineRun {
  readonly id: number
  /** Seconds in its slot. */
  readonly seconds: number
  startedUs: number
  /** Its end; undefined while it waits for a slot. */
  timer: Timer | undefined
}

/** The GPU of a peer: so many slots, each as fast as when all are in use; other runs wait their turn. */
export class Engine<Run extends EngineRun> {
  readonly #timers: Timers
  readonly #meter: GpuMeter
  readonly #nowUs: () => number
  readonly #slots: number
  readonly #onDone: (run: Run, ranUs: number) => void
  /** Those that have a slot, and those that wait, in their order: a few. */
  readonly #running: Run[] = []
  readonly #waiting: Run[] = []
  readonly #finish = (run: Run): void => this.#onDone(run, this.#end(run))

  /** `onDone` gets the GPU time that a run took. */
  constructor(
    timers: Timers,
    meter: GpuMeter,
    nowUs: () => number,
    slots: number,
    onDone: (run: Run, ranUs: number) => void,
  ) {
    this.#timers = timers
    this.#meter = meter
    this.#nowUs = nowUs
    this.#slots = slots
    this.#onDone = onDone
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

  #begin(run: Run): void {
    this.#running.push(run)
    run.startedUs = this.#nowUs()
    this.#meter.beginRun(run.startedUs)
    run.timer = this.#timers.after(run.seconds * 1e6, this.#finish, run)
  }

  /** Frees its slot. Returns the GPU time that it took. */
  #end(run: Run): number {
    if (run.timer !== undefined) this.#timers.cancel(run.timer)
    const ranUs = this.#meter.endRun(run.startedUs, this.#nowUs())
    this.#running.splice(this.#running.indexOf(run), 1)
    const next = this.#waiting.shift()
    if (next !== undefined) this.#begin(next)
    return ranUs
  }
}
