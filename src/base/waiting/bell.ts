import { type Deadline, deadlinePassed } from './deadline.ts'
import { HearthError } from '../errors.ts'

/**
 * One wait at a time for what somebody else brings about, with a deadline. What `withDeadline` does with a signal and
 * four promises for any work, this does with one promise: a transfer waits some twenty times for each chunk.
 */
export class Bell {
  #look: (() => void) | undefined

  /** Whether somebody waits. */
  get isAwaited(): boolean {
    return this.#look !== undefined
  }

  /**
   * Resolves once `isDone()`, which is asked at once and whenever the bell is rung; rejects with what it throws, with
   * `deadline-passed`, or with the signal's reason. The deadline counts from `sinceMs`, which is now by default.
   */
  async until(isDone: () => boolean, deadline: Deadline, sinceMs?: number): Promise<void> {
    const { clock, ms, whose, signal } = deadline
    signal?.throwIfAborted()
    if (isDone()) return
    if (this.#look !== undefined)
      throw new HearthError('internal', `two waits at once, one of them for ${whose}`)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const leftMs = sinceMs === undefined ? ms : Math.max(0, sinceMs + ms - clock.nowMs())
    const cancel = clock.schedule(leftMs, () => reject(deadlinePassed(ms, whose)))
    const onAbort = (): void => reject(signal?.reason as Error)
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#look = () => {
      try {
        if (!isDone()) return
        resolve()
      } catch (error) {
        reject(error)
      }
      this.#look = undefined
    }
    try {
      await promise
    } finally {
      this.#look = undefined
      cancel()
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Has whoever waits look again. */
  ring(): void {
    this.#look?.()
  }
}
