import { afterEach, expect, test, vi } from 'vitest'
import { every, sleep } from '../../src/base/clock.ts'
import { systemClock } from '../../src/base/system-clock.ts'

afterEach(() => {
  vi.useRealTimers()
})

test('a wait longer than a timer of Node can be is long, and not none', () => {
  vi.useFakeTimers()
  const run = vi.fn()
  for (const delayMs of [2 ** 31, 2 ** 40, Number.POSITIVE_INFINITY]) systemClock.schedule(delayMs, run)
  vi.advanceTimersByTime(2 ** 31 - 2)
  expect(run).not.toHaveBeenCalled()
})

test('a sleep ends with its time, or with the reason of its signal, and leaves no listener behind', async () => {
  vi.useFakeTimers()
  const controller = new AbortController()
  const remove = vi.spyOn(controller.signal, 'removeEventListener')
  const slept = sleep(systemClock, 1_000, controller.signal)
  vi.advanceTimersByTime(1_000)
  await slept
  expect(remove).toHaveBeenCalledTimes(1)
  const ended = sleep(systemClock, 1_000, controller.signal)
  controller.abort(new Error('enough'))
  await expect(ended).rejects.toThrow('enough')
  await expect(sleep(systemClock, 1_000, controller.signal)).rejects.toThrow('enough')
  expect(vi.getTimerCount()).toBe(0)
})

test('a repeated call goes on until it is cancelled, also from within', () => {
  vi.useFakeTimers()
  let times = 0
  const cancel = every(systemClock, 100, () => {
    times += 1
    if (times === 3) cancel()
  })
  vi.advanceTimersByTime(1_000)
  expect(times).toBe(3)
  expect(vi.getTimerCount()).toBe(0)
})
