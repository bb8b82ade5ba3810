// Damaged bits in the file of a journal: its lines are right, or the damage has a name.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { isHearthError } from '../../../src/base/errors.ts'
import type { JobLine } from '../../../src/tasks/job/job-file.ts'
import type { JobRecord } from '../../../src/tasks/journal/journal-database.ts'
import type { JournalLine } from '../../../src/tasks/journal/journal-rows.ts'
import { Journal } from '../../../src/tasks/journal/journal.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const REQUESTS = 40
const SETTLED = 25
const DAMAGE_CODES = ['request-damaged', 'result-damaged']
const record: JobRecord = {
  jobId: 'job',
  context: 'facts',
  contextId: 'context',
  inputPath: 'in.jsonl',
  inputSha256: 'aa',
  outputPath: 'out.jsonl',
  createdAtMs: 1,
  isDetached: false,
}

/** Every tenth is longer than a page, so that the file has overflow pages too. */
const padding = (n: number): string => 'x'.repeat(n % 10 === 9 ? 6_000 : 150)
const bodyOf = (n: number): string => JSON.stringify({ prompt: `question ${n} ${padding(n)}` })
const answerOf = (n: number): string => JSON.stringify({ text: `answer ${n} ${padding(n)}` })

async function* jobLines(): AsyncIterable<JobLine> {
  for (let n = 0; n < REQUESTS; n += 1)
    yield { line: n + 1, customId: `id-${n}`, url: '/v1/completions', body: bodyOf(n) }
}

function answer(journal: Journal, numbers: readonly number[]): void {
  const epochs = new Map(journal.openLeases().map(({ n, epoch }) => [n, epoch + 1]))
  const leases = numbers.map((n) => ({ n, epoch: epochs.get(n) ?? 1 }))
  for (const { n, url, body } of journal.requests(leases))
    expect([url, body]).toEqual(['/v1/completions', bodyOf(n)])
  journal.commit(
    [{ peer: 'peer', leases }],
    leases.map((key) => ({
      peer: 'peer',
      result: {
        ...key,
        outcome: 'ok',
        statusCode: 200,
        body: answerOf(key.n),
        promptTokens: 2,
        completionTokens: 3,
      },
    })),
    5,
  )
}

function unsettled(journal: Journal): number[] {
  return journal
    .unsettledRanges()
    .flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i))
}

/** Every line has its own answer, or an error that names the damage and never another's id. */
function expectRight(lines: readonly JournalLine[]): void {
  for (const { n, customId, ok, body } of lines) {
    if (customId !== null) expect(customId).toBe(`id-${n}`)
    if (ok) expect([customId, body]).toEqual([`id-${n}`, answerOf(n)])
    else expect(DAMAGE_CODES).toContain((JSON.parse(body) as { code: string }).code)
  }
}

/** What `work` throws is named. */
function named(work: () => void): void {
  try {
    work()
  } catch (error) {
    if (!isHearthError(error, 'data-corrupt')) throw error
  }
}

describe('a journal with damaged bits', () => {
  let path: string
  let bytes: Buffer

  beforeAll(async () => {
    path = join(temporaryFolder('bit-rot'), 'journal.sqlite')
    const journal = await Journal.create(path, record, jobLines())
    answer(
      journal,
      Array.from({ length: SETTLED }, (_, n) => n),
    )
    journal.close()
    bytes = readFileSync(path)
  })

  /** The file as it was, with one column of one row changed behind Hearth's back. */
  function damage(sql: string): void {
    writeFileSync(path, bytes)
    const db = new DatabaseSync(path)
    db.exec(sql)
    db.close()
  }

  const open = (): Journal => Journal.open(path) as Journal

  test('has right lines or a named error, read as it is and after the job went on', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length * 8 - 1), { minLength: 1, maxLength: 3 }), (bits) => {
        const damaged = Buffer.from(bytes)
        for (const bit of bits) damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
        writeFileSync(path, damaged)
        named(() => {
          using journal = Journal.read(path) as Journal
          expectRight([...journal.lines()])
        })
        named(() => {
          using journal = open()
          journal.mend(6)
          answer(journal, unsettled(journal))
          const lines = [...journal.lines()]
          expectRight(lines)
          expect(lines.map(({ n }) => n)).toEqual(Array.from({ length: REQUESTS }, (_, n) => n))
        })
      }),
      { numRuns: 60 },
    )
  })

  test('forgets a damaged result, which is computed again; a reader sees its error', () => {
    damage("UPDATE result SET body = replace(body, 'answer 3', 'answer 7') WHERE n = 3")
    const reader = Journal.read(path) as Journal
    const lines = [...reader.lines()]
    reader.close()
    expect(lines[3]).toMatchObject({
      customId: 'id-3',
      ok: false,
      body: expect.stringContaining('result-damaged') as unknown,
    })
    using journal = open()
    expect(journal.mend(6)).toEqual({ resultsForgotten: 1, requestsLost: 0 })
    expect(unsettled(journal)[0]).toBe(3)
    answer(journal, unsettled(journal))
    expect([...journal.lines()].every(({ ok }) => ok)).toBe(true)
  })

  test('gives a damaged request an error line, and a null id when that is damaged', () => {
    damage("UPDATE request SET body = '{}' WHERE n = 30; UPDATE request SET customId = 'id-99' WHERE n = 31")
    using journal = open()
    expect(journal.mend(6)).toEqual({ resultsForgotten: 0, requestsLost: 2 })
    answer(journal, unsettled(journal))
    const lines = [...journal.lines()]
    const error = { ok: false, body: expect.stringContaining('request-damaged') as unknown }
    expect(lines[30]).toMatchObject({ customId: 'id-30', ...error })
    expect(lines[31]).toMatchObject({ customId: null, ...error })
    expect(lines.filter(({ ok }) => !ok)).toHaveLength(2)
    expectRight(lines)
  })

  test('never sends a request that was damaged while the job runs; the next run names it', () => {
    damage('')
    using journal = open()
    journal.mend(6)
    const other = new DatabaseSync(path)
    other.exec("UPDATE request SET body = '{}' WHERE n = 30")
    other.close()
    expect(() => journal.requests([{ n: 30, epoch: 1 }])).toThrow(/request 30 does not have its hash/)
    expect(journal.mend(7)).toEqual({ resultsForgotten: 0, requestsLost: 1 })
  })

  test('finds rows that are missing or of no line', () => {
    damage('DELETE FROM request WHERE n IN (2, 33); UPDATE result SET n = 4000 WHERE n = 5')
    using journal = open()
    expect(journal.mend(6)).toEqual({ resultsForgotten: 1, requestsLost: 1 })
    answer(journal, unsettled(journal))
    const lines = [...journal.lines()]
    expectRight(lines)
    expect(lines.filter(({ ok }) => !ok).map(({ n }) => n)).toEqual([2, 33])
    expect(lines).toHaveLength(REQUESTS)
  })

  test('is refused when the row of its job is damaged', () => {
    for (const change of ["outputPath = 'other'", 'requests = 39', "state = 'cancelled'"]) {
      damage(`UPDATE job SET ${change}`)
      expect(() => Journal.open(path)).toThrow(/the row of the job does not have its hash/)
    }
    damage('DELETE FROM job')
    expect(() => Journal.open(path)).toThrow(/the row of the job is missing/)
    damage('DROP TABLE job')
    expect(() => Journal.open(path)).toThrow(/no table of the job/)
  })
})
