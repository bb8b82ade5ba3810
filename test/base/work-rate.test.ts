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

test('runs that take longer than its memory are not taken for faster ones', () => {
  const meter = new WorkRate({ memoryMs: 30_000, workMsMin: 1 })
  let nowMs = 0
  for (let run = 0; run < 20; run += 1) {
    meter.begin(nowMs)
    nowMs += 600_000
    meter.end(1, nowMs)
    expect(meter.perSecond(nowMs)).toBeCloseTo(1 / 600, 3)
  }
})

test('of one that has stopped less and less is expected', () => {
  const meter = new WorkRate({ memoryMs: 30_000, workMsMin: 1 })
  for (let run = 0; run < 1_000; run += 1) {
    meter.begin(run * 100)
    meter.end(1, run * 100 + 100)
  }
  meter.begin(100_000)
  const rates = [0, 60_000, 600_000].map((waitedMs) => meter.perSecond(100_000 + waitedMs) ?? 0)
  expect(rates[0]).toBeCloseTo(10, 1)
  expect(rates[1]).toBeLessThan(2)
  expect(rates[2]).toBeLessThan(0.2)
})
