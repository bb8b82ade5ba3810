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
    const leftMs = done === 0 ? undefined : ((nowMs - beganMs) / done) * (total - before - done)
    const words = `${before + done} of ${total} runs done${leftMs === undefined ? '' : `, about ${duration(leftMs)} left`}`
    output.progress(words)
    if (output.isInteractive || nowMs - notedMs < NOTE_EVERY_MS) return
    notedMs = nowMs
    output.note(words)
  }
  tell(0)
  return tell
}

function duration(ms: number): string {
  return ms < 90_000 ? `${Math.ceil(ms / 1000)} s` : `${Math.ceil(ms / 60_000)} min`
}
