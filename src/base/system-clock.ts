import type { Cancel, Clock } from './clock.ts'

/** The longest wait of a timer of Node: it takes a longer one, or an infinite one, for none at all. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** The machine's own clock: one of the two files that touch ambient time and chance. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  schedule(delayMs, run, options): Cancel {
    const timer = setTimeout(run, Math.min(delayMs, TIMER_MS_MAX))
    if (options?.background === true) timer.unref()
    return () => clearTimeout(timer)
  },
}
