import type { Random } from '../../base/random.ts'
import { backoffMs, withJitter } from '../../base/waiting/backoff.ts'

/** Retries of a request at a busy endpoint. */
const BUSY_RETRIES_MAX = 6
/** Longest wait for a busy endpoint; beyond it, another peer may have room. */
const BUSY_WAIT_MS_MAX = 30_000
const FIRST_WAIT_MS = 500

/** The endpoint has no room for this request now; any other status is an answer. */
export function isBusy(statusCode: number): boolean {
  return statusCode === 429 || statusCode === 503
}

/**
 * How long to wait before the request is sent again, ms; undefined when it is not to be. What the
 * endpoint asks for is waited for in full; without that, 0.5 s doubled each time, each shortened by up
 * to half at random so that slots do not come back together.
 */
export function busyWaitMs(
  retries: number,
  retryAfterMs: number | undefined,
  random: Random,
): number | undefined {
  if (retries >= BUSY_RETRIES_MAX) return undefined
  if (retryAfterMs !== undefined) return retryAfterMs <= BUSY_WAIT_MS_MAX ? retryAfterMs : undefined
  return withJitter(backoffMs(FIRST_WAIT_MS, BUSY_WAIT_MS_MAX, retries + 1), random)
}

/**
 * Refusals that say nothing about the request, but that this endpoint is not set up for it (its key, its
 * model's name) or was too slow: another peer's may be.
 */
const NOT_OF_THE_REQUEST: ReadonlySet<number> = new Set([401, 402, 403, 404, 405, 407, 408, 425])

/** Whether every endpoint would refuse the request. */
export function isOwnFault(statusCode: number): boolean {
  return statusCode >= 400 && statusCode < 500 && !isBusy(statusCode) && !NOT_OF_THE_REQUEST.has(statusCode)
}
