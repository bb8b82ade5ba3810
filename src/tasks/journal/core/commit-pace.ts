/** When results that wait are made durable together. */
export interface CommitPaceOptions {
  /**
   * A result is made durable at once when none was lately. Else it waits for others to go with, so long
   * that commits take this share of the time, at most `commitWaitMsMax`; or until there are `commitGroupMax`.
   */
  commitShare: number
  commitWaitMsMax: number
  commitGroupMax: number
}

/** Commits over which their time is averaged. */
const MEAN_OVER = 8

/** How long results wait for others: the time that commits take is learnt from the last ones. */
export class CommitPace {
  readonly #options: CommitPaceOptions
  #nextAtMs = 0
  /** What a commit takes, the mean of the last ones: a disk that is slow once is not waited for again. */
  #usualMs = 0

  constructor(options: CommitPaceOptions) {
    this.#options = options
  }

  /** Whether so many results are committed now, however short the wait was. */
  isFull(results: number): boolean {
    return results >= this.#options.commitGroupMax
  }

  /** How long a result that comes now waits for others, ms; 0: not at all. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#nextAtMs - nowMs)
  }

  committed(beganMs: number, endedMs: number): void {
    const { commitShare, commitWaitMsMax } = this.#options
    this.#usualMs += (endedMs - beganMs - this.#usualMs) / MEAN_OVER
    this.#nextAtMs = endedMs + Math.min(commitWaitMsMax, this.#usualMs * (1 / commitShare - 1))
  }
}
