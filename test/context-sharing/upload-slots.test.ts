import { describe, expect, it } from 'vitest'
import type { Clock } from '../../src/base/clock.ts'
import { UploadSlots } from '../../src/context-sharing/upload-slots.ts'

/** A clock whose timers run when they are told to. */
function manualClock(): { clock: Clock; runTimers: () => void; timers: Set<() => void> } {
  const timers = new Set<() => void>()
  const clock: Clock = {
    nowMs: () => 0,
    wallMs: () => 0,
    schedule(_delayMs, run) {
      timers.add(run)
      return () => timers.delete(run)
    },
  }
  return {
    clock,
    timers,
    runTimers() {
      for (const run of timers) {
        timers.delete(run)
        run()
      }
    },
  }
}

describe('upload slots', () => {
  it('are given to as many as there are, then in the order of asking', async () => {
    const { clock, timers } = manualClock()
    const slots = new UploadSlots(clock, 2)
    expect(await slots.acquire(100)).toBe(true)
    expect(await slots.acquire(100)).toBe(true)
    const order: string[] = []
    const waiting = ['first', 'second'].map(async (name) => {
      if (await slots.acquire(100)) order.push(name)
    })
    slots.release()
    await waiting[0]
    expect(order).toEqual(['first'])
    slots.release()
    await waiting[1]
    expect(order).toEqual(['first', 'second'])
    expect(timers.size).toBe(0)
  })

  it('are refused after the wait, and not lost by that', async () => {
    const { clock, runTimers } = manualClock()
    const slots = new UploadSlots(clock, 1)
    expect(await slots.acquire(100)).toBe(true)
    const refused = slots.acquire(100)
    runTimers()
    expect(await refused).toBe(false)
    slots.release()
    expect(await slots.acquire(100)).toBe(true)
  })
})
