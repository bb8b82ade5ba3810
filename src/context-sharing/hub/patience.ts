import { sleep, type Clock } from '../../base/clock.ts'
import { isHearthError, messageOf, type HearthError } from '../../base/errors.ts'
import { backoffMs } from '../../base/waiting/backoff.ts'
import { isPassing } from './hub-errors.ts'

/** Failures in a row after which something is given up. */
const FAILURES_MAX = 6
const WAIT_MS_FIRST = 1_000
const WAIT_MS_MAX = 30_000
/** A hub that asks for a longer wait is not waited for: the same command can be run again by then. */
const ASKED_WAIT_MS_MAX = 300_000

/** Tries what may succeed a little later again: after as long as the hub asks for, else 1 s doubled each time. */
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

  /** Something succeeded: failures are counted anew. */
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

  /** Waits before the next attempt. Throws `error` when there is to be none, or the signal's reason. */
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
