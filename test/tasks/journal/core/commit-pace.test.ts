import { describe, expect, test } from 'vitest'
import { CommitPace } from '../../../../src/tasks/journal/core/commit-pace.ts'
import { COMMIT_GROUP_MAX, COMMIT_SHARE, COMMIT_WAIT_MS_MAX } from '../../../../src/tasks/journal/timings.ts'

const OPTIONS = {
  commitShare: COMMIT_SHARE,
  commitWaitMsMax: COMMIT_WAIT_MS_MAX,
  commitGroupMax: COMMIT_GROUP_MAX,
}

/** Commits of `tookMs` each, as soon as they may be; returns when each begins. */
function begins(tookMs: number, count: number): number[] {
  const pace = new CommitPace(OPTIONS)
  const times: number[] = []
  let nowMs = 0
  for (let commit = 0; commit < count; commit += 1) {
    nowMs += pace.waitMs(nowMs)
    times.push(nowMs)
    pace.committed(nowMs, nowMs + tookMs)
    nowMs += tookMs
  }
  return times
}

describe('the pace of commits', () => {
  test('lets the first result, and one after a pause, go at once', () => {
    const pace = new CommitPace(OPTIONS)
    expect(pace.waitMs(0)).toBe(0)
    pace.committed(0, 1)
    expect(pace.waitMs(1)).toBeGreaterThan(0)
    expect(pace.waitMs(1_000)).toBe(0)
  })

  test.each([0.5, 2, 5])('comes to the share of the time that commits of %d ms may take', (tookMs) => {
    const times = begins(tookMs, 60)
    const everyMs = (times.at(-1)! - times.at(-11)!) / 10
    expect(tookMs / everyMs).toBeCloseTo(COMMIT_SHARE, 2)
  })

  test('waits no longer than the bound on a slow disk', () => {
    const times = begins(200, 60)
    expect(times.at(-1)! - times.at(-2)!).toBeCloseTo(200 + COMMIT_WAIT_MS_MAX)
  })

  test('is not slow for long after one slow commit', () => {
    const pace = new CommitPace(OPTIONS)
    pace.committed(0, 40)
    for (let nowMs = 100; nowMs < 130 * 100; nowMs += 100) pace.committed(nowMs, nowMs + 1)
    expect(pace.waitMs(12_901)).toBeLessThan(10)
  })

  test('is full with as many results as one commit takes', () => {
    const pace = new CommitPace(OPTIONS)
    expect(pace.isFull(COMMIT_GROUP_MAX - 1)).toBe(false)
    expect(pace.isFull(COMMIT_GROUP_MAX)).toBe(true)
  })
})
