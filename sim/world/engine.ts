import type { GpuMeter } from './gpu-meter.ts'
import type { Timer, Timers } from './timers.ts'

interface EngineRun {
  readonly id: string
  /** Seconds in its slot. */
  readonly seconds: number
  /** Gets the GPU time that it took. */
  readonly onDone: (ranUs: number) => void
  startedUs: number
  /** Its end; undefined while it waits for a slot. */
  timer: Timer | undefined
}

/** The GPU of a peer: so many slots, each as fast as when all are in use; other runs wait their turn. */
export class Engine {
  readonly #timers: Timers
  readonly #meter: GpuMeter
  readonly #nowUs: () => number
  readonly #slots: number
  readonly #runs = new Map<string, EngineRun>()
  #waiting: EngineRun[] = []
  #active = 0

  constructor(timers: Timers, meter: GpuMeter, nowUs: () => number, slots: number) {
    this.#timers = timers
    this.#meter = meter
    this.#nowUs = nowUs
    this.#slots = slots
  }

  start(id: string, seconds: number, onDone: (ranUs: number) => void): void {
    const run: EngineRun = { id, seconds, onDone, startedUs: 0, timer: undefined }
    this.#runs.set(id, run)
    if (this.#active < this.#slots) this.#begin(run)
    else this.#waiting.push(run)
  }

  stop(id: string): void {
    const run = this.#runs.get(id)
    if (run === undefined) return
    this.#runs.delete(id)
    if (run.timer === undefined) this.#waiting = this.#waiting.filter((other) => other !== run)
    else this.#end(run, run.timer)
  }

  /** The host is gone; the meter is told of what ran. */
  clear(): void {
    this.#waiting = []
    for (const run of this.#runs.values()) if (run.timer !== undefined) this.#end(run, run.timer)
    this.#runs.clear()
  }

  #begin(run: EngineRun): void {
    this.#active += 1
    run.startedUs = this.#nowUs()
    this.#meter.beginRun(run.startedUs)
    const timer = this.#timers.after(run.seconds * 1e6, () => {
      this.#runs.delete(run.id)
      run.onDone(this.#end(run, timer))
    })
    run.timer = timer
  }

  /** Frees its slot. Returns the GPU time that it took. */
  #end(run: EngineRun, timer: Timer): number {
    this.#timers.cancel(timer)
    const ranUs = this.#meter.endRun(run.startedUs, this.#nowUs())
    this.#active -= 1
    const next = this.#waiting.shift()
    if (next !== undefined) this.#begin(next)
    return ranUs
  }
}
