/** How a rate of work is measured. */
export interface WorkRateOptions {
  /** A measurement this long ago counts a third (1/e), ms of work; longer where runs take long. */
  memoryMs: number
  /** Less work than this says nothing, ms. */
  workMsMin: number
}

/**
 * The window spans at least this many runs. Otherwise a run longer than the window would make the rate
 * too high.
 */
const RUNS_REMEMBERED_MIN = 8

const WORK_RATE_DEFAULTS: WorkRateOptions = { memoryMs: 60_000, workMsMin: 1_000 }
/** For requests, which may take milliseconds. */
export const REQUEST_RATE: WorkRateOptions = { memoryMs: 30_000, workMsMin: 1 }

/** How fast something works: what it has done per second of the time in which it had work. Time comes in with every call. */
export class WorkRate {
  readonly #options: WorkRateOptions
  #running = 0
  #atMs = 0
  /** All fade as time goes by in which there is work. */
  #done = 0
  #runs = 0
  #workMs = 0

  constructor(options: WorkRateOptions = WORK_RATE_DEFAULTS) {
    this.#options = options
  }

  begin(nowMs: number, runs = 1): void {
    this.#advance(nowMs)
    this.#running += runs
  }

  /** @param done what the run came to: tokens, results, bytes; 0 when it failed. */
  end(done: number, nowMs: number, runs = 1): void {
    this.#advance(nowMs)
    this.#running = Math.max(0, this.#running - runs)
    if (done === 0) return
    this.#done += done
    this.#runs += runs
  }

  /** All runs together; undefined while there was too little work to tell. */
  perSecond(nowMs: number): number | undefined {
    this.#advance(nowMs)
    if (this.#workMs < this.#options.workMsMin || this.#done === 0) return undefined
    return (1_000 * this.#done) / this.#workMs
  }

  #advance(nowMs: number): void {
    const elapsedMs = Math.max(0, nowMs - this.#atMs)
    this.#atMs = nowMs
    if (this.#running === 0 || elapsedMs === 0) return
    if (this.#runs === 0) {
      this.#workMs += elapsedMs
      return
    }
    const memoryMs = Math.max(
      this.#options.memoryMs,
      (RUNS_REMEMBERED_MIN * (this.#workMs + elapsedMs)) / this.#runs,
    )
    const kept = Math.exp(-elapsedMs / memoryMs)
    this.#done *= kept
    this.#runs *= kept
    this.#workMs = this.#workMs * kept + memoryMs * (1 - kept)
  }
}
