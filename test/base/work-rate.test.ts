import { expect, test } from 'vitest'
import { WorkRate } from '../../src/base/work-rate.ts'

test('it says nothing before a second of work', () => {
  const meter = new WorkRate()
  meter.begin(0)
  meter.end(100, 900)
  expect(meter.perSecond(5_000)).toBeUndefined()
})

test('time without work does not count, and runs at once count together', () => {
  const meter = new WorkRate()
  for (const startMs of [0, 100_000]) {
    meter.begin(startMs)
    meter.begin(startMs)
    meter.end(100, startMs + 1_000)
    meter.end(100, startMs + 2_000)
  }
  // 400 tokens in 4 s; what came later counts a little more.
  expect(meter.perSecond(1_000_000)).toBeCloseTo(100, -1)
})

test('it follows a machine that has become slower', () => {
  const meter = new WorkRate()
  let nowMs = 0
  const work = (seconds: number, tokens: number): void => {
    for (let second = 0; second < seconds; second += 1) {
      meter.begin(nowMs)
      nowMs += 1_000
      meter.end(tokens, nowMs)
    }
  }
  work(300, 1_000)
  expect(meter.perSecond(nowMs)).toBeCloseTo(1_000, -2)
  work(300, 10)
  const rate = meter.perSecond(nowMs) ?? 0
  expect(rate).toBeGreaterThan(10)
  expect(rate).toBeLessThan(20)
})
