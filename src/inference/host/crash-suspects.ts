// Runs again what shared a process that crashed. Suspects run alone, one after another, so that the next crash
// has one cause; a run that only shared the process gets its answer.
import { EngineCrash } from './engine-crash.ts'

/** Crashes that one run outlives, its own place in them unknown. Then it fails as it would have at the first. */
const CRASHES_MAX = 5

/** Suspects that crash alone without an answer between them: the engine is broken, and the others fail at once. */
const LONE_CRASHES_MAX = 8

export class CrashSuspects {
  /** Settled when the last suspect so far has run. */
  #last: Promise<void> = Promise.resolve()
  #count = 0
  #loneCrashes = 0

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
    for (let crashes = 1; ; crashes += 1) {
      try {
        return await (isSuspect ? this.#alone(attempt) : attempt(false))
      } catch (error) {
        if (!(error instanceof EngineCrash) || error.suspects === 1 || crashes === CRASHES_MAX) throw error
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
      if (this.#loneCrashes >= LONE_CRASHES_MAX) {
        throw new EngineCrash(`the engine process ended ${LONE_CRASHES_MAX} times in a row`, 1, undefined)
      }
      const answer = await attempt(true)
      this.#loneCrashes = 0
      return answer
    } catch (error) {
      if (error instanceof EngineCrash) this.#loneCrashes += 1
      throw error
    } finally {
      this.#count -= 1
      if (this.#count === 0) this.#loneCrashes = 0
      done.resolve()
    }
  }
}
