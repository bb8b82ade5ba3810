import { sleep, type Clock } from '../../base/clock.ts'
import { isHearthError, messageOf, type HearthError } from '../../base/errors.ts'
import { backoffMs } from '../../base/waiting/backoff.ts'
import { isPassing } from './hub-errors.ts'

/** Consecutive failures before giving up. */
const FAILURES_MAX = 6
const WAIT_MS_FIRST = 1_000
const WAIT_MS_MAX = 30_000
/** A longer wait is refused: the user can run the same command again later. */
const ASKED_WAIT_MS_MAX = 300_000

/** Retries transient failures with back-off: after the wait that the hub asks for, else 1 s, doubled each time. */
export class Patience {
  readonly #clock: Clock
  readonly #onWait: (reason: string, ms: number) => void
  readonly #signal: AbortSignal | undefined
  #failures = 0

  constructor(clock: Clock, onWait: (reason: string, ms: number) => void, signal: AbortSignal | undefined) {
    this.#clock = clock
    this.#onWait = onWait
    this.#signal = signal
  }

  /** Resets the count of failures after a success. */
  renew(): void {
    this.#failures = 0
  }

  async attempt<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work()
      } catch (error) {
        await this.waitAfter(error)
      }
    }
  }

  /** Waits before the next attempt. Throws `error` after the last attempt, or the signal's reason. */
  async waitAfter(error: unknown): Promise<void> {
    this.#signal?.throwIfAborted()
    if (!isPassing(error) || this.#failures + 1 >= FAILURES_MAX) throw error
    const ms = askedWaitMs(error) ?? backoffMs(WAIT_MS_FIRST, WAIT_MS_MAX, this.#failures + 1)
    if (ms > ASKED_WAIT_MS_MAX) throw error
    this.#failures += 1
    this.#onWait(messageOf(error), ms)
    await sleep(this.#clock, ms, this.#signal)
  }
}

function askedWaitMs(error: HearthError): number | undefined {
  const ms = isHearthError(error, 'download-failed') ? error.data['retryAfterMs'] : undefined
  return typeof ms === 'number' ? ms : undefined
}
