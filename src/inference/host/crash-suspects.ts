// Runs again what shared a process that crashed. Suspects run alone, one after another, so that the next crash
// has one cause. A run fails only of a crash that it had alone: how often it shared others' does not count.
// KillGuard ends this when no process lives long enough to answer.
import { EngineCrash } from './engine-crash.ts'

export class CrashSuspects {
  /** Settled when the last suspect so far has run. */
  #last: Promise<void> = Promise.resolve()
  #count = 0

  /** Resolves when no suspect waits or runs: others may share the process again. */
  async cleared(): Promise<void> {
    while (this.#count > 0) await this.#last
  }

  /** Whether a run has to wait for suspects. */
  get isBusy(): boolean {
    return this.#count > 0
  }

  /** The answer of `attempt`, tried again when its process crashed for what may be another run's fault. */
  async run<T>(attempt: (isAlone: boolean) => Promise<T>): Promise<T> {
    let isSuspect = false
    for (;;) {
      try {
        return await (isSuspect ? this.#alone(attempt) : attempt(false))
      } catch (error) {
        if (!(error instanceof EngineCrash) || error.suspects === 1) throw error
        isSuspect ||= error.suspects > 1
      }
    }
  }

  async #alone<T>(attempt: (isAlone: boolean) => Promise<T>): Promise<T> {
    const before = this.#last
    const done = Promise.withResolvers<void>()
    this.#last = done.promise
    this.#count += 1
    try {
      await before
      return await attempt(true)
    } finally {
      this.#count -= 1
      done.resolve()
    }
  }
}
