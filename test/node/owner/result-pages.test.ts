import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import { HearthError } from '../../../src/base/errors.ts'
import { RESULT_PAGE_BYTES_MAX, RESULT_READERS_MAX } from '../../../src/base/limits.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { DataFolder } from '../../../src/node/home/data-folder.ts'
import { JobFolder } from '../../../src/node/jobs/job-folder.ts'
import { copyResults, printResults, type DistantJob } from '../../../src/node/owner/copy-results.ts'
import { answerFromJson, answerToJson, type GivenAnswer } from '../../../src/node/owner/job-messages.ts'
import { ResultPages } from '../../../src/node/owner/result-pages.ts'
import { RESULT_READER_IDLE_MS } from '../../../src/node/owner/timings.ts'
import { Journal } from '../../../src/tasks/journal/journal.ts'
import { outputLine } from '../../../src/tasks/journal/output-file.ts'
import { addJob } from '../../../testing/jobs/owned-peers.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const JOB = 'b2'.repeat(16)
/** More than two pages. */
const LINES = 4_500

let data: DataFolder
let pages: ResultPages
let asked: number[]
/** Goes off after so many pages, once. */
let fault: { after: number } | undefined
beforeEach(() => {
  data = new DataFolder(temporaryFolder('pages'))
  pages = new ResultPages(systemClock)
  asked = []
  fault = undefined
})
afterEach(() => pages.close())

const job: DistantJob = {
  peer: 'desktop',
  jobId: JOB,
  async ask(question) {
    if (question.type !== 'results') throw new TypeError('only results are asked for')
    if (fault !== undefined && asked.length >= fault.after) {
      fault = undefined
      throw new HearthError('peer-unreachable', 'the peer is away')
    }
    asked.push(question.at)
    const page = await pages.page(new JobFolder(data, JOB), question.at)
    return answerFromJson(JSON.parse(JSON.stringify(answerToJson({ type: 'page', page }))) as GivenAnswer)
  },
}

function outputOf(jobId: string): string {
  const journal = Journal.read(new JobFolder(data, jobId).journalPath)!
  const text = [...journal.lines()].map((line) => `${outputLine(jobId, line)}\n`).join('')
  journal.close()
  return text
}

describe('results of a job at another machine', () => {
  test('arrive in pages, as the file that the job writes', async () => {
    await addJob({ data }, JOB, { count: LINES, answered: LINES })
    const path = join(data.path, 'copy.jsonl')
    const { bytes } = await copyResults(job, path)
    expect(await readFile(path, 'utf8')).toBe(outputOf(JOB))
    expect(asked).toEqual([0, RESULT_PAGE_BYTES_MAX, 2 * RESULT_PAGE_BYTES_MAX])
    expect(bytes).toBeGreaterThan(2 * RESULT_PAGE_BYTES_MAX)
    const parts: Uint8Array[] = []
    await printResults(job, { appendFile: async (part) => void parts.push(part) })
    expect(Buffer.concat(parts).toString()).toBe(outputOf(JOB))
  })

  test('an interrupted copy goes on where it ended, also when the other peer was restarted', async () => {
    await addJob({ data }, JOB, { count: LINES, answered: LINES })
    const path = join(data.path, 'copy.jsonl')
    fault = { after: 1 }
    await expect(copyResults(job, path)).rejects.toThrow('away')
    expect(existsSync(path)).toBe(false)
    pages.close()
    pages = new ResultPages(systemClock)
    await copyResults(job, path)
    expect(asked).toEqual([0, RESULT_PAGE_BYTES_MAX, 2 * RESULT_PAGE_BYTES_MAX])
    expect(await readFile(path, 'utf8')).toBe(outputOf(JOB))
    await copyResults(job, path)
  })

  test('the copy of an unfinished job begins anew, because its lines move', async () => {
    await addJob({ data }, JOB, { count: LINES, answered: LINES - 1 })
    const path = join(data.path, 'copy.jsonl')
    fault = { after: 2 }
    await expect(copyResults(job, path)).rejects.toThrow('away')
    pages.close()
    await copyResults(job, path)
    expect(await readFile(path, 'utf8')).toBe(outputOf(JOB))
  })

  test('a copy with other bytes is refused and removed', async () => {
    await addJob({ data }, JOB, { count: LINES, answered: LINES })
    const path = join(data.path, 'copy.jsonl')
    const partial = `${path}.${JOB.slice(0, 12)}.copy`
    await writeFile(partial, 'these bytes are of no results')
    await expect(copyResults(job, path)).rejects.toMatchObject({ code: 'data-corrupt' })
    expect(existsSync(partial)).toBe(false)
    await copyResults(job, path)
    expect(
      createHash('sha256')
        .update(await readFile(path))
        .digest('hex'),
    ).toBe(createHash('sha256').update(outputOf(JOB)).digest('hex'))
  })

  test('a file that the job did not write stays', async () => {
    await addJob({ data }, JOB, { count: 3, answered: 3 })
    const path = join(data.path, 'copy.jsonl')
    await writeFile(path, 'a diary')
    await expect(copyResults(job, path)).rejects.toMatchObject({ code: 'usage' })
    expect(await readFile(path, 'utf8')).toBe('a diary')
  })

  test('few journals stay open between pages, and none for long', async () => {
    const waits: { delayMs: number; run: () => void; isCancelled: boolean }[] = []
    const clock: Clock = {
      ...systemClock,
      schedule(delayMs, run) {
        const wait = { delayMs, run, isCancelled: false }
        waits.push(wait)
        return () => void (wait.isCancelled = true)
      },
    }
    const bounded = new ResultPages(clock)
    await addJob({ data }, JOB, { count: LINES, answered: LINES })
    const folder = new JobFolder(data, JOB)
    for (let count = 0; count < RESULT_READERS_MAX + 1; count += 1) await bounded.page(folder, 0)
    const open = waits.filter(({ isCancelled }) => !isCancelled)
    expect(open).toHaveLength(RESULT_READERS_MAX)
    expect(new Set(open.map(({ delayMs }) => delayMs))).toEqual(new Set([RESULT_READER_IDLE_MS]))
    for (const { run } of open) run()
    await rm(folder.path, { recursive: true })
    await expect(bounded.page(folder, RESULT_PAGE_BYTES_MAX)).rejects.toThrow()
  })
})
