import type { Random } from '../../src/base/random.ts'
import { exponential } from './distribution.ts'
import { HOUR_MS } from './rhythm.ts'

/** When peers come that were not there at the start. */
export type Arrivals =
  /** At random, so many in an hour on average, without end. */
  | { kind: 'poisson'; perHour: number }
  /** A crowd: `peers` of them, spread evenly at random over `overMs` from `atMs` on. */
  | { kind: 'flash-crowd'; peers: number; atMs: number; overMs: number }
  /** At the times given, ms, in order. */
  | { kind: 'at'; timesMs: readonly number[] }

/** The times of arrival in order, ms. */
export function* arrivalTimes(arrivals: Arrivals, random: Random): Generator<number, void> {
  switch (arrivals.kind) {
    case 'poisson': {
      if (arrivals.perHour <= 0) return
      for (let atMs = 0; ;) {
        atMs += (exponential(random) * HOUR_MS) / arrivals.perHour
        yield atMs
      }
    }
    case 'flash-crowd': {
      const times = Array.from(
        { length: arrivals.peers },
        () => arrivals.atMs + random.next() * arrivals.overMs,
      )
      yield* times.sort((a, b) => a - b)
      return
    }
    case 'at':
      yield* arrivals.timesMs
  }
}
