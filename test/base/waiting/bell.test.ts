import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Bell } from '../../../src/base/waiting/bell.ts'
import { systemClock } from '../../../src/base/system-clock.ts'

const deadline = { clock: systemClock, ms: 1_000, whose: 'the post' }

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('who waits looks again when the bell is rung, and goes on once it is so', async () => {
  const bell = new Bell()
  let letters = 0
  const waiting = bell.until(() => letters >= 2, deadline)
  letters = 1
  bell.ring()
  expect(bell.isAwaited).toBe(true)
  letters = 2
  bell.ring()
  expect(bell.isAwaited).toBe(false)
  await waiting
  expect(vi.getTimerCount()).toBe(0)
})

test('a wait for what is so already is none, and what a look throws ends one', async () => {
  const bell = new Bell()
  await bell.until(() => true, deadline)
  let isBroken = false
  const waiting = bell.until(() => {
    if (isBroken) throw new Error('torn')
    return false
  }, deadline)
  isBroken = true
  bell.ring()
  await expect(waiting).rejects.toThrow('torn')
  expect(vi.getTimerCount()).toBe(0)
})

test('a wait ends with its deadline, counted from when it is said to have begun, and with its signal', async () => {
  const bell = new Bell()
  const beganMs = systemClock.nowMs()
  const ended = expect(bell.until(() => false, deadline)).rejects.toMatchObject({
    code: 'deadline-passed',
    message: expect.stringContaining('the post'),
  })
  vi.advanceTimersByTime(1_000)
  await ended
  const late = expect(bell.until(() => false, deadline, beganMs)).rejects.toMatchObject({
    code: 'deadline-passed',
  })
  vi.advanceTimersByTime(1)
  await late
  const controller = new AbortController()
  const given = bell.until(() => false, { ...deadline, signal: controller.signal })
  controller.abort(new Error('enough'))
  await expect(given).rejects.toThrow('enough')
  await expect(bell.until(() => true, { ...deadline, signal: controller.signal })).rejects.toThrow('enough')
})

test('two waits at once are a defect of the caller, and say so', async () => {
  const bell = new Bell()
  const first = bell.until(() => false, deadline)
  await expect(bell.until(() => false, deadline)).rejects.toMatchObject({ code: 'internal' })
  vi.advanceTimersByTime(1_000)
  await expect(first).rejects.toMatchObject({ code: 'deadline-passed' })
})
