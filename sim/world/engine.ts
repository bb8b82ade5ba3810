import type { GpuMeter } from './gpu-meter.ts'
import type { Timer, Timers } from './timers.ts'

/** A request in the engine. */
export interface EngineRun {
  readonly id: string
  /** Seconds in its slot. */
  readonly seconds: number
}

interface Started<Run> {
  readonly run: Run
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
  readonly #running: Started<Run>[] = []
  readonly #waiting: Started<Run>[] = []
  readonly #finish = (started: Started<Run>): void => this.#onDone(started.run, this.#end(started))

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
    const started: Started<Run> = { run, startedUs: 0, timer: undefined }
    if (this.#running.length < this.#slots) this.#begin(started)
    else this.#waiting.push(started)
  }

  /** Returns the run, if it was there. */
  stop(id: string): Run | undefined {
    const waiting = this.#waiting.findIndex(({ run }) => run.id === id)
    if (waiting >= 0) return this.#waiting.splice(waiting, 1)[0]?.run
    const started = this.#running.find(({ run }) => run.id === id)
    if (started === undefined) return undefined
    this.#end(started)
    return started.run
  }

  /** The host is gone; the meter is told of what ran. */
  clear(): void {
    this.#waiting.length = 0
    for (let first = this.#running[0]; first !== undefined; first = this.#running[0]) this.#end(first)
  }

  #begin(started: Started<Run>): void {
    this.#running.push(started)
    started.startedUs = this.#nowUs()
    this.#meter.beginRun(started.startedUs)
    started.timer = this.#timers.after(started.run.seconds * 1e6, this.#finish, started)
  }

  /** Frees its slot. Returns the GPU time that it took. */
  #end(started: Started<Run>): number {
    if (started.timer !== undefined) this.#timers.cancel(started.timer)
    const ranUs = this.#meter.endRun(started.startedUs, this.#nowUs())
    this.#running.splice(this.#running.indexOf(started), 1)
    const next = this.#waiting.shift()
    if (next !== undefined) this.#begin(next)
    return ranUs
  }
}
