import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import pino from 'pino'
import { expect, test } from 'vitest'
import { systemClock } from '../../../src/base/system-clock.ts'
import { systemRandom } from '../../../src/base/system-random.ts'
import { jobListCommand } from '../../../src/cli/commands/job.ts'
import { DataFolder } from '../../../src/node/home/data-folder.ts'
import { JobFolder } from '../../../src/node/jobs/job-folder.ts'
import { Journal } from '../../../src/tasks/journal/journal.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

test('one damaged job does not hide the others from job ls', async () => {
  const data = new DataFolder(temporaryFolder('jobs'))
  const damaged = new JobFolder(data, 'aaaaaaaa1')
  const whole = new JobFolder(data, 'bbbbbbbb2')
  mkdirSync(dirname(damaged.journalPath), { recursive: true })
  writeFileSync(damaged.journalPath, 'this is not a database, and it is long enough to be looked at as one')
  async function* requests(): AsyncGenerator<{ line: number; customId: string; url: string; body: string }> {
    yield { line: 1, customId: 'a', url: '/v1/completions', body: '{}' }
  }
  const job = {
    jobId: whole.jobId,
    context: 'facts',
    contextId: '',
    inputPath: 'in',
    inputSha256: 'aa',
    outputPath: 'out',
    createdAtMs: 1,
    isDetached: false,
  }
  const journal = await Journal.create(whole.journalPath, job, requests())
  journal.close()
  const printed: string[] = []
  const noted: string[] = []
  const terminal = {
    isJson: false,
    isInteractive: false,
    print: (line: string): void => void printed.push(line),
    note: (line: string): void => void noted.push(line),
    event: (): void => {},
    redraw: (): void => {},
  }
  const log = pino({ level: 'silent' })
  const signal = new AbortController().signal
  expect(
    await jobListCommand({ terminal, data, clock: systemClock, random: systemRandom, log, signal }),
  ).toBe(0)
  expect(printed.join('\n')).toContain('bbbbbbbb')
  expect(noted).toEqual([expect.stringMatching(/^job aaaaaaaa1 cannot be read: .*damaged/) as string])
})
