import { systemClock } from '../../src/base/system-clock.ts'
import type { Output } from './run-command.ts'

/** Where nobody sees a line being redrawn, a line is printed this often, ms. */
const NOTE_EVERY_MS = 30_000

/** Says how many of `total` runs are done, and about how long the rest will take. */
export function runProgress(output: Output, total: number, before = 0): (done: number) => void {
  const beganMs = systemClock.nowMs()
  let notedMs = beganMs
  const tell = (done: number): void => {
    const nowMs = systemClock.nowMs()
    const left = total - before - done
    const rest = done === 0 || left === 0 ? '' : `, about ${duration(((nowMs - beganMs) / done) * left)} left`
    const words = `${before + done} of ${total} runs done${rest}`
    output.progress(words)
    if (left === 0 || output.isInteractive || nowMs - notedMs < NOTE_EVERY_MS) return
    notedMs = nowMs
    output.note(words)
  }
  tell(0)
  return tell
}

function duration(ms: number): string {
  return ms < 90_000 ? `${Math.ceil(ms / 1000)} s` : `${Math.ceil(ms / 60_000)} min`
}
