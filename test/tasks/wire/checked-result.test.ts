import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { JSON_DEPTH_MAX, RESULT_TOKENS_MAX } from '../../../src/base/limits.ts'
import type { JobRecord } from '../../../src/tasks/journal/journal-database.ts'
import { Journal } from '../../../src/tasks/journal/journal.ts'
import { writeOutputFile } from '../../../src/tasks/journal/output-file.ts'
import { checkedResult } from '../../../src/tasks/wire/checked-result.ts'
import { wireForm, workerMessageSchema, type TaskResult } from '../../../src/tasks/wire/task-messages.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

let folder: string
beforeEach(() => {
  folder = temporaryFolder('result')
})

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
const good: TaskResult = {
  n: 0,
  epoch: 1,
  outcome: 'ok',
  statusCode: 200,
  body: '{"a":1}',
  promptTokens: 2,
  completionTokens: 3,
}
const REFUSAL = '{"code":"request-invalid","message":"too long"}'
const nested = (levels: number): string => `${'{"a":'.repeat(levels - 1)}{}${'}'.repeat(levels - 1)}`

async function* requests(count: number): AsyncGenerator<{
  line: number
  customId: string
  url: string
  body: string
}> {
  for (let n = 0; n < count; n += 1)
    yield { line: n + 1, customId: `c${n}`, url: '/v1/completions', body: '{}' }
}

describe('a result before it is committed', () => {
  test.each<[string, Partial<TaskResult>]>([
    ['an answer', {}],
    ['an answer nested as deep as may be', { body: nested(JSON_DEPTH_MAX) }],
    ['an answer of the most tokens', { promptTokens: RESULT_TOKENS_MAX }],
    ['a refusal', { outcome: 'bad-request', statusCode: 422, body: REFUSAL }],
    ['a failure of the peer', { outcome: 'retry', statusCode: 503, body: '' }],
  ])('stays what it is: %s', (_what, change) => {
    expect(checkedResult({ ...good, ...change })).toEqual({ ...good, ...change })
  })

  test.each<[string, Partial<TaskResult>]>([
    ['no JSON', { body: 'oops' }],
    ['a list', { body: '[]' }],
    ['null', { body: 'null' }],
    ['a number', { body: '1' }],
    ['nested too deep', { body: nested(JSON_DEPTH_MAX + 1) }],
    ['nested past the stack', { body: nested(100_000) }],
    ['too many prompt tokens', { promptTokens: RESULT_TOKENS_MAX + 1 }],
    ['too many completion tokens', { completionTokens: Number.MAX_SAFE_INTEGER }],
    ['a refusal without a code', { outcome: 'bad-request', body: '{"message":"no"}' }],
    ['a refusal whose message is no text', { outcome: 'bad-request', body: '{"code":"a","message":{}}' }],
  ])('is a failure of its peer: %s', (_what, change) => {
    expect(checkedResult({ ...good, ...change }).outcome).toBe('retry')
  })

  const hostileBody = fc.oneof(
    fc.constantFrom('', '{', 'null', '[]', '"x"', '{"a":1e999}', '{"__proto__":{"a":1}}', '\u0000', REFUSAL),
    fc.integer({ min: 1, max: 20_000 }).map(nested),
    fc.json(),
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'binary' }).map((text) => JSON.stringify({ code: text, message: text })),
  )
  const hostileTokens = fc.oneof(fc.maxSafeNat(), fc.constantFrom(Number.MAX_SAFE_INTEGER, RESULT_TOKENS_MAX))
  const hostileResults = fc.array(
    fc.record({
      outcome: fc.constantFrom('ok' as const, 'bad-request' as const),
      statusCode: fc.integer({ min: 100, max: 599 }),
      body: hostileBody,
      promptTokens: hostileTokens,
      completionTokens: hostileTokens,
    }),
    { minLength: 1, maxLength: 8 },
  )

  /** What every command does with a journal: opens it, counts, tells the errors, writes the output. */
  async function useJournal(path: string, results: TaskResult[]): Promise<number> {
    const journal = await Journal.create(path, record, requests(results.length))
    journal.commit(
      [{ peer: 'p', leases: results.map(({ n, epoch }) => ({ n, epoch })) }],
      results.map((result) => ({ peer: 'p', result })),
      1,
    )
    journal.close()
    const again = Journal.open(path)!
    again.commonErrors(3)
    const output = `${path}.jsonl`
    await writeOutputFile(output, 'job', again.lines())
    const { committed } = again.counts()
    again.close()
    const lines = (await readFile(output, 'utf8')).trimEnd().split('\n')
    for (const line of lines) JSON.parse(line)
    return lines.length === committed ? committed : -1
  }

  test('the journal opens and the output is written after any messages that the protocol allows', async () => {
    let run = 0
    await fc.assert(
      fc.asyncProperty(hostileResults, async (drawn) => {
        const results = drawn.map((result, n): TaskResult => ({ ...result, n, epoch: 1 }))
        expect(workerMessageSchema.safeParse(wireForm({ type: 'results', results })).success).toBe(true)
        run += 1
        // A journal of an earlier version took them all.
        expect(await useJournal(join(folder, `all-${run}`), results)).toBe(results.length)
        for (const result of results.map(checkedResult)) {
          if (result.outcome === 'retry') continue
          expect(JSON.parse(result.body)).toBeTypeOf('object')
          expect(Number.isSafeInteger(8 * (result.promptTokens + result.completionTokens))).toBe(true)
        }
      }),
      { numRuns: 40 },
    )
  })

  test('counts that together pass 2^63 do not make the journal unreadable', async () => {
    const results = Array.from({ length: 1_100 }, (_, n) => ({
      ...good,
      n,
      promptTokens: Number.MAX_SAFE_INTEGER,
    }))
    expect(await useJournal(join(folder, 'sums'), results)).toBe(1_100)
  })
})
