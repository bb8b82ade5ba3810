import { HearthError } from '../errors.ts'
import { randomBetween, type Random } from '../random.ts'

/** A first wait of 1 ms is then twelve days: more than any `msMax`, and still exact. */
const DOUBLINGS_MAX = 30

/** How long to wait after `failures` in a row, at least 1: `firstMs`, doubled for each after the first, up to `msMax`. */
export function backoffMs(firstMs: number, msMax: number, failures: number): number {
  checkFailures(failures)
  return Math.min(msMax, firstMs * 2 ** Math.min(failures - 1, DOUBLINGS_MAX))
}

/** Shortens a wait by up to half at random, so that those who began to wait together come back apart. */
export function withJitter(ms: number, random: Random): number {
  return ms * randomBetween(random, 0.5, 1)
}

/** How long to wait after `failures` in a row, at least 1, by a list of waits. The last wait of the list stays. */
export function listedBackoffMs(waitsMs: readonly number[], failures: number): number {
  checkFailures(failures)
  const waitMs = waitsMs[Math.min(failures, waitsMs.length) - 1]
  if (waitMs === undefined) throw new HearthError('internal', 'a list of waits is empty')
  return waitMs
}

function checkFailures(failures: number): void {
  if (Number.isSafeInteger(failures) && failures >= 1) return
  throw new HearthError('internal', `a wait was asked for after ${failures} failures`)
}
