/** When waiting results are committed together. */
export interface CommitPaceOptions {
  /**
   * A result is committed at once after a quiet time. Otherwise it waits for others, so long
   * that commits take this share of the time, at most `commitWaitMsMax`; or until there are `commitGroupMax`.
   */
  commitShare: number
  commitWaitMsMax: number
  commitGroupMax: number
}

/** Commits over which their time is averaged. */
const MEAN_OVER = 8

/** The wait of results for a shared commit, from the average time of recent commits. */
export class CommitPace {
  readonly #options: CommitPaceOptions
  #nextAtMs = 0
  /** Mean time of the last commits, so that one slow commit has no lasting effect. */
  #usualMs = 0

  constructor(options: CommitPaceOptions) {
    this.#options = options
  }

  /** Whether this number of results is committed at once, without a further wait. */
  isFull(results: number): boolean {
    return results >= this.#options.commitGroupMax
  }

  /** The wait of a result that arrives now, ms; 0 for none. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#nextAtMs - nowMs)
  }

  committed(beganMs: number, endedMs: number): void {
    const { commitShare, commitWaitMsMax } = this.#options
    this.#usualMs += (endedMs - beganMs - this.#usualMs) / MEAN_OVER
    this.#nextAtMs = endedMs + Math.min(commitWaitMsMax, this.#usualMs * (1 / commitShare - 1))
  }
}
