import type { Clock } from '../clock.ts'
import { HearthError } from '../errors.ts'
import { unlessAborted } from './unless-aborted.ts'

export interface Deadline {
  clock: Clock
  /** How long the wait may take, ms. */
  ms: number
  /** The awaited thing, as a noun phrase: "the advert of peer X". It becomes part of the error. */
  whose: string
  signal?: AbortSignal | undefined
}

/**
 * Runs `work` with a signal that is aborted when the time is up or the outer signal is aborted.
 * The returned promise settles by then, whether or not `work` heeds its signal.
 * Throws `deadline-passed`, saying what was waited for; or the outer signal's reason.
 * A value that arrives after the wait was given up goes to `release`, which must not throw.
 */
export async function withDeadline<T>(
  deadline: Deadline,
  work: (signal: AbortSignal) => Promise<T>,
  release?: (late: T) => void,
): Promise<T> {
  const { clock, ms, whose, signal: outer } = deadline
  outer?.throwIfAborted()
  const inner = new AbortController()
  const onOuterAbort = (): void => inner.abort(outer?.reason)
  outer?.addEventListener('abort', onOuterAbort, { once: true })
  const cancel = clock.schedule(ms, () => inner.abort(deadlinePassed(ms, whose)))
  try {
    return await unlessAborted(work(inner.signal), inner.signal, release)
  } finally {
    cancel()
    outer?.removeEventListener('abort', onOuterAbort)
  }
}

export function deadlinePassed(ms: number, whose: string): HearthError {
  return new HearthError('deadline-passed', `no answer within ${ms} ms: ${whose}`, { data: { whose, ms } })
}
