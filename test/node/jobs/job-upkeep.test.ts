import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { keepJobsOf } from '../../../src/cli/terminal/store-options.ts'
import { DataFolder } from '../../../src/node/home/data-folder.ts'
import { JobsUsage } from '../../../src/node/home/jobs-usage.ts'
import { JobFolder, listJobs } from '../../../src/node/jobs/job-folder.ts'
import { expireJobs, removeJob } from '../../../src/node/jobs/job-upkeep.ts'
import { Journal } from '../../../src/tasks/journal/journal.ts'
import { addJob } from '../../../testing/jobs/owned-peers.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const DONE = 'd0'.repeat(16)
const OPEN = '0e'.repeat(16)
const DAY_MS = 86_400_000
const NOW_MS = 1_900_000_000_000

let data: DataFolder
beforeEach(async () => {
  data = new DataFolder(temporaryFolder('upkeep'))
  data.create()
  await addJob({ data }, DONE, { count: 2, answered: 2 })
  await addJob({ data }, OPEN, { count: 2, answered: 1 })
})

const folderOf = (jobId: string): JobFolder => new JobFolder(data, jobId)

function age(jobId: string, days: number): void {
  const seconds = (NOW_MS - days * DAY_MS) / 1000
  utimesSync(folderOf(jobId).journalPath, seconds, seconds)
}

function expire(): string[] {
  return expireJobs(data, { keepDays: data.keepJobsDays, wallMs: NOW_MS, log: silentLogger })
}

describe('job rm', () => {
  test('removes a finished job, and an unfinished one only by force', () => {
    removeJob(folderOf(DONE), { isForced: false })
    expect(listJobs(data)).toEqual([OPEN])
    expect(() => removeJob(folderOf(OPEN), { isForced: false })).toThrow('1 of its 2 lines have no answer')
    expect(listJobs(data)).toEqual([OPEN])
    removeJob(folderOf(OPEN), { isForced: true })
    expect(listJobs(data)).toEqual([])
  })

  test('refuses a job that runs, also by force', () => {
    const running = Journal.open(folderOf(OPEN).journalPath)!
    expect(() => removeJob(folderOf(OPEN), { isForced: true })).toThrow('job cancel')
    running.close()
    removeJob(folderOf(OPEN), { isForced: true })
  })
})

describe('finished jobs', () => {
  test('are kept for 30 days, or as long as the owner said; unfinished ones for ever', () => {
    age(DONE, 29)
    age(OPEN, 1_000)
    expect(expire()).toEqual([])
    age(DONE, 31)
    data.remember({ keepJobsDays: 'forever' })
    expect(expire()).toEqual([])
    data.remember({ keepJobsDays: 31.5 })
    expect(expire()).toEqual([])
    data.remember({ keepJobsDays: 2 })
    expect(expire()).toEqual([DONE])
    expect(listJobs(data)).toEqual([OPEN])
  })

  test('that are read stay as old as they are', () => {
    age(DONE, 31)
    Journal.read(folderOf(DONE).journalPath)?.close()
    expect(expire()).toEqual([DONE])
  })

  test('that a crash left half removed are no jobs, and go with the next look', () => {
    const half = join(data.jobsPath, '.removed-aa')
    mkdirSync(half)
    writeFileSync(join(half, 'journal.sqlite'), 'half')
    expect(listJobs(data)).toEqual([OPEN, DONE].sort())
    expire()
    expect(existsSync(half)).toBe(false)
  })

  test('--keep-jobs takes days or "forever"', () => {
    expect(keepJobsOf({})).toEqual({})
    expect(keepJobsOf({ keepJobs: 'forever' })).toEqual({ keepJobsDays: 'forever' })
    expect(keepJobsOf({ keepJobs: '7' })).toEqual({ keepJobsDays: 7 })
    expect(() => keepJobsOf({ keepJobs: '0' })).toThrow('--keep-jobs takes a number of days above 0')
  })
})

test('the room of jobs is measured now and then', async () => {
  let nowMs = 0
  const clock: Clock = { ...systemClock, nowMs: () => nowMs }
  const usage = new JobsUsage(clock, data)
  const before = await usage.size()
  expect(before.count).toBe(2)
  writeFileSync(join(folderOf(DONE).path, 'more'), 'x'.repeat(1_000))
  expect(await usage.size()).toEqual(before)
  nowMs = 10_000
  expect(await usage.size()).toEqual({ count: 2, bytes: before.bytes + 1_000 })
})
