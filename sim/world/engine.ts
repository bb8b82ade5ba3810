import type { Mode } from '../scenarios/schema.ts'
import type { GpuMeter } from './gpu-meter.ts'
import type { Timer, Timers } from './timers.ts'

/** What is known of a run once it has ended. */
export interface RunFacts {
  /** GPU time that it took, in its slot. */
  ranUs: number
  /** From its start to its end, fetching and loading included where a mode pays these for each request. */
  taskUs: number
  startedUs: number
  endedUs: number
}

export interface EngineRun {
  readonly id: string
  readonly context: number
  /** Seconds in its slot. */
  readonly seconds: number
  readonly onDone: (facts: RunFacts) => void
  startedUs: number
  /** Whether it has a slot. */
  isActive: boolean
  /** When it began to compute; undefined before. */
  computingUs: number | undefined
  /** What it waits for now. */
  timer: Timer | undefined
  stopFetch: (() => void) | undefined
}

export interface EngineOptions {
  slots: number
  mode: Mode
  overheadS: number
}

export interface EngineParts {
  timers: Timers
  meter: GpuMeter
  nowUs: () => number
  /** Seconds that one load takes. */
  drawLoadS: () => number
  /** Fetches and unpacks the context for one run; returns how to give it up. */
  fetchForRun: (onDone: () => void) => () => void
}

/** The GPU of a peer: so many slots, each as fast as when all are in use; the other runs wait their turn. */
export class Engine {
  readonly #parts: EngineParts
  readonly #options: EngineOptions
  readonly #runs = new Map<string, EngineRun>()
  #waiting: EngineRun[] = []
  #active = 0

  constructor(parts: EngineParts, options: EngineOptions) {
    this.#parts = parts
    this.#options = options
  }

  start(id: string, context: number, seconds: number, onDone: (facts: RunFacts) => void): void {
    const run: EngineRun = {
      id,
      context,
      seconds,
      onDone,
      startedUs: 0,
      isActive: false,
      computingUs: undefined,
      timer: undefined,
      stopFetch: undefined,
    }
    this.#runs.set(id, run)
    if (this.#active < this.#options.slots) this.#begin(run)
    else this.#waiting.push(run)
  }

  stop(id: string): void {
    const run = this.#runs.get(id)
    if (run === undefined) return
    this.#runs.delete(id)
    if (run.isActive) this.#end(run)
    else this.#waiting = this.#waiting.filter((other) => other !== run)
  }

  /** The host is gone; the meter is told of what ran. */
  clear(): void {
    this.#waiting = []
    for (const run of this.#runs.values()) if (run.isActive) this.#end(run)
    this.#runs.clear()
  }

  #begin(run: EngineRun): void {
    this.#active += 1
    run.isActive = true
    run.timer = this.#parts.timers.after(this.#options.overheadS * 1e6, () => {
      run.startedUs = this.#parts.nowUs()
      if (this.#options.mode === 'none') this.#fetch(run)
      else if (this.#options.mode === 'partial') this.#load(run)
      else this.#compute(run)
    })
    run.startedUs = this.#parts.nowUs()
  }

  #fetch(run: EngineRun): void {
    run.timer = undefined
    run.stopFetch = this.#parts.fetchForRun(() => {
      run.stopFetch = undefined
      this.#load(run)
    })
  }

  #load(run: EngineRun): void {
    const { meter, timers, nowUs } = this.#parts
    meter.begin('load', nowUs())
    run.stopFetch = () => meter.end('load', nowUs())
    run.timer = timers.after(this.#parts.drawLoadS() * 1e6, () => {
      run.stopFetch?.()
      run.stopFetch = undefined
      this.#compute(run)
    })
  }

  #compute(run: EngineRun): void {
    const { meter, timers, nowUs } = this.#parts
    run.computingUs = nowUs()
    meter.beginRun(run.computingUs)
    run.timer = timers.after(run.seconds * 1e6, () => {
      run.timer = undefined
      this.#runs.delete(run.id)
      const { startedUs } = run
      const ranUs = this.#end(run)
      const endedUs = nowUs()
      run.onDone({ ranUs, taskUs: endedUs - startedUs, startedUs, endedUs })
    })
  }

  /** Frees its slot. Returns the GPU time that it took. */
  #end(run: EngineRun): number {
    const { meter, timers, nowUs } = this.#parts
    if (run.timer !== undefined) timers.cancel(run.timer)
    run.stopFetch?.()
    const ranUs = run.computingUs === undefined ? 0 : meter.endRun(run.computingUs, nowUs())
    this.#active -= 1
    const next = this.#waiting.shift()
    if (next !== undefined) this.#begin(next)
    return ranUs
  }
}
