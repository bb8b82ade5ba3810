import type { Cancel, Clock } from './clock.ts'

/** The machine's own clock: one of the two files that touch ambient time and chance. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  schedule(delayMs, run, options): Cancel {
    const timer = setTimeout(run, delayMs)
    if (options?.background === true) timer.unref()
    return () => clearTimeout(timer)
  },
}
