import { every } from '../../base/clock.ts'
import { systemClock } from '../../base/system-clock.ts'

/** How often a timer wakes that does nothing but keep the process, ms. */
const HOLD_MS = 60_000

/** Keeps the process alive until `work` ends: a closing peer may wait on timers that hold no process. */
export async function whileHeld<T>(work: Promise<T>): Promise<T> {
  const letGo = every(systemClock, HOLD_MS, () => {}, { background: false })
  return await work.finally(letGo)
}
