import { execFile } from 'node:child_process'
import { lstat, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { beforeEach, describe, expect, test } from 'vitest'
import { isHearthError } from '../../../src/base/errors.ts'
import { readJobFile } from '../../../src/tasks/job/job-file.ts'
import type { JobRecord } from '../../../src/tasks/journal/journal-database.ts'
import { Journal, type CommitEntry, type SentLeases } from '../../../src/tasks/journal/journal.ts'
import { claimOutput, writeOutputFile } from '../../../src/tasks/journal/output-file.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

let folder: string
beforeEach(() => {
  folder = temporaryFolder('journal')
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
const line = (customId: string): string =>
  JSON.stringify({ custom_id: customId, method: 'POST', url: '/v1/completions', body: { prompt: customId } })

async function create(...customIds: string[]): Promise<Journal> {
  const input = join(folder, 'in.jsonl')
  await writeFile(input, customIds.map((id) => `${line(id)}\n`).join(''))
  return Journal.create(join(folder, 'journal.sqlite'), record, readJobFile(input))
}

const entry = (n: number, epoch: number, body = '{"a":1}'): CommitEntry => ({
  peer: 'peer',
  result: { n, epoch, outcome: 'ok', statusCode: 200, body, promptTokens: 2, completionTokens: 3 },
})

const sent = (epoch: number, ...numbers: number[]): SentLeases => ({
  peer: 'peer',
  leases: numbers.map((n) => ({ n, epoch })),
})

describe('a journal', () => {
  test('commits a result once, and says which of two came second', async () => {
    const journal = await create('a', 'b')
    expect(journal.commit([sent(1, 0)], [entry(0, 1), entry(0, 1)], 5)).toEqual(['committed', 'duplicate'])
    expect(journal.counts()).toEqual({
      requests: 2,
      committed: 1,
      failed: 0,
      promptTokens: 2,
      completionTokens: 3,
    })
    journal.close()
  })

  test('is for its user alone, and so are the files beside it', async () => {
    const journal = await create('a')
    journal.commit([sent(1, 0)], [entry(0, 1)], 5)
    const files = ['journal.sqlite', 'journal.sqlite-wal', 'journal.sqlite-shm']
    for (const name of files) expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600)
    journal.close()
  })

  test('a result under an old epoch is not committed', async () => {
    const journal = await create('a')
    journal.commit([sent(1, 0)], [], 5)
    expect(journal.commit([sent(2, 0)], [entry(0, 1)], 5)).toEqual(['stale'])
    expect(journal.commit([], [entry(0, 2)], 5)).toEqual(['committed'])
    journal.close()
  })

  test('knows after a restart what is left and under which epochs it was out', async () => {
    const journal = await create('a', 'b', 'c', 'd', 'e')
    journal.commit([sent(1, 0), sent(2, 1), sent(3, 2)], [entry(1, 2)], 5)
    journal.close()
    const again = Journal.open(join(folder, 'journal.sqlite'))!
    expect(again.job).toEqual(record)
    expect(again.unsettledRanges()).toEqual([
      { from: 0, to: 1 },
      { from: 2, to: 5 },
    ])
    expect(again.openLeases()).toEqual([
      { n: 0, epoch: 1, holders: ['peer'] },
      { n: 2, epoch: 3, holders: ['peer'] },
    ])
    again.close()
  })

  test('knows every peer that was sent a request under its newest epoch, and nobody else', async () => {
    const journal = await create('a', 'b')
    const leases = [{ n: 0, epoch: 1 }]
    for (const peer of ['first', 'copy', 'copy']) journal.commit([{ peer, leases }], [], 5)
    expect(journal.openLeases()).toEqual([{ n: 0, epoch: 1, holders: ['first', 'copy'] }])
    journal.commit([{ peer: 'next', leases: [{ n: 0, epoch: 2 }] }], [], 5)
    journal.commit([{ peer: 'late', leases }], [], 5)
    expect(journal.openLeases()).toEqual([{ n: 0, epoch: 2, holders: ['next'] }])
    journal.cancel(6)
    journal.reopenFailed()
    expect(journal.openLeases()).toEqual([
      { n: 0, epoch: 3, holders: [] },
      { n: 1, epoch: 1, holders: [] },
    ])
    journal.close()
  })

  /** A journal of two requests, the second settled, as an earlier version wrote it. */
  async function ofVersion(version: 2 | 3): Promise<string> {
    const journal = await create('a', 'b')
    journal.commit([sent(1, 0, 1)], [entry(1, 1)], 5)
    journal.close()
    const path = join(folder, 'journal.sqlite')
    const db = new DatabaseSync(path)
    db.exec(`ALTER TABLE job DROP COLUMN requests; ALTER TABLE job DROP COLUMN hash; ALTER TABLE result DROP COLUMN hash;
      ALTER TABLE request DROP COLUMN keyHash; ALTER TABLE request DROP COLUMN bodyHash; UPDATE job SET version = 3`)
    if (version === 2)
      db.exec('DROP TABLE copy; ALTER TABLE request DROP COLUMN holder; UPDATE job SET version = 2')
    db.close()
    return path
  }

  test('of version 3 is opened, and its rows are hashed as they are', async () => {
    const again = Journal.open(await ofVersion(3))!
    expect(again.mend(6)).toEqual({ resultsForgotten: 0, requestsLost: 0 })
    expect(again.openLeases()).toEqual([{ n: 0, epoch: 1, holders: ['peer'] }])
    again.commit([], [entry(0, 1)], 7)
    expect([...again.lines()]).toMatchObject([
      { customId: 'a', ok: true, body: '{"a":1}' },
      { customId: 'b', ok: true, body: '{"a":1}' },
    ])
    again.close()
  })

  test('of version 2 is opened: the holders of its leases are unknown', async () => {
    const path = await ofVersion(2)
    const again = Journal.open(path)!
    expect(again.counts().committed).toBe(1)
    expect(again.openLeases()).toEqual([{ n: 0, epoch: 1, holders: [] }])
    again.close()
    const newer = new DatabaseSync(path)
    newer.exec('UPDATE job SET version = 99')
    newer.close()
    expect(() => Journal.open(path)).toThrow(/of version 99, and this Hearth reads versions 2 to/)
  })

  test('remembers the context that its name was bound to', async () => {
    const journal = await create('a')
    journal.bindContext('bafy')
    journal.close()
    const again = Journal.open(join(folder, 'journal.sqlite'))!
    expect(again.job).toMatchObject({ context: 'facts', contextId: 'bafy' })
    again.close()
  })

  test('can be read while it runs', async () => {
    const journal = await create('a', 'b')
    journal.commit([sent(1, 0)], [entry(0, 1)], 5)
    const reader = Journal.read(join(folder, 'journal.sqlite'))!
    expect([...reader.lines()].map(({ customId }) => customId)).toEqual(['a'])
    reader.close()
    journal.close()
  })

  test('a cancelled job has an error line for all that was not settled; a retry runs those again', async () => {
    const journal = await create('a', 'b', 'c')
    journal.commit([sent(1, 0)], [entry(0, 1)], 5)
    journal.cancel(6)
    expect(journal.state).toBe('cancelled')
    expect(journal.counts()).toMatchObject({ committed: 3, failed: 2 })
    expect(journal.commonErrors(3)).toMatchObject([{ code: 'batch_cancelled', lines: 2, exampleLine: 2 }])
    expect(journal.reopenFailed()).toBe(2)
    expect(journal.unsettledRanges()).toEqual([{ from: 1, to: 3 }])
    expect(journal.counts()).toMatchObject({ committed: 1, failed: 0 })
    expect(journal.commit([], [entry(1, 0)], 7)).toEqual(['stale'])
    journal.close()
  })

  test('is open in one process at a time', async () => {
    const journal = await create('a')
    expect(() => Journal.open(join(folder, 'journal.sqlite'))).toThrow(/already running/)
    journal.close()
    Journal.open(join(folder, 'journal.sqlite'))?.close()
  })

  test('refuses a file that is not a journal, saying so', async () => {
    await writeFile(
      join(folder, 'journal.sqlite'),
      'this is not a database, and it is long enough to be looked at as one',
    )
    expect(() => Journal.open(join(folder, 'journal.sqlite'))).toThrow(/damaged/)
  })

  test('committed results survive SIGKILL at any moment', async () => {
    const script = await writerScript('if (n === 600) process.kill(process.pid, "SIGKILL")')
    const acknowledged = await acknowledgedBy('exec "$0" "$1"', script)
    expect(acknowledged).toBeGreaterThanOrEqual(600)
    const journal = Journal.open(join(folder, 'written.sqlite'))!
    expect(journal.counts().committed).toBe(610)
    journal.close()
  })

  test('where nothing more can be written it says so, keeps what it acknowledged, and goes on later', async () => {
    const script = await writerScript('')
    const acknowledged = await acknowledgedBy('ulimit -f 1000; exec "$0" "$1"', script)
    expect(acknowledged).toBeGreaterThan(0)
    expect(acknowledged).toBeLessThan(2000)
    const journal = Journal.open(join(folder, 'written.sqlite'))!
    expect(journal.counts().committed).toBe(acknowledged)
    expect(journal.commit([sent(2, acknowledged)], [entry(acknowledged, 2)], 5)).toEqual(['committed'])
    journal.close()
  })
})

/** A program that makes a journal of 2,000 requests, commits them by tens and prints how many it has. */
async function writerScript(afterEach: string): Promise<string> {
  const script = join(folder, 'writer.ts')
  const source = new URL('../../../src/tasks/journal/journal.ts', import.meta.url).href
  await writeFile(
    script,
    `import { Journal } from '${source}'
     async function* lines() { for (let n = 0; n < 2000; n += 1) yield { line: n + 1, customId: 'c' + n, url: '/v1/completions', body: '{}' } }
     const journal = await Journal.create(${JSON.stringify(join(folder, 'written.sqlite'))}, ${JSON.stringify(record)}, lines())
     const body = JSON.stringify({ text: 'x'.repeat(100) })
     try {
       for (let n = 0; n < 2000; n += 10) {
         const group = Array.from({ length: 10 }, (_, i) => ({ n: n + i, epoch: 1 }))
         journal.commit([{ peer: 'p', leases: group }], group.map((key) => ({ peer: 'p', result: { ...key, outcome: 'ok', statusCode: 200, body, promptTokens: 1, completionTokens: 1 } })), 1)
         process.stdout.write(n + 10 + '\\n')
         ${afterEach}
       }
     } catch (error) {
       process.exitCode = error.code === 'disk-full' ? 9 : 1
     }`,
  )
  return script
}

/** How many it says it committed, when it was killed or found no more room. */
async function acknowledgedBy(shell: string, script: string): Promise<number> {
  const ended = await promisify(execFile)('sh', ['-c', shell, process.execPath, script]).catch(
    (error: { stdout: string; signal: string; code: number }) => error,
  )
  if (!('signal' in ended) || (ended.signal !== 'SIGKILL' && ended.code !== 9))
    throw new Error('it ended otherwise')
  return Number(ended.stdout.trim().split('\n').at(-1))
}

describe('a job file', () => {
  test('is refused before anything runs, with every bad line and its number', async () => {
    const input = join(folder, 'bad.jsonl')
    await writeFile(
      input,
      [
        line('a'),
        'not json',
        '',
        line('a'),
        '{"custom_id":"b","method":"POST","url":"/v1/images","body":{}}',
        `{"custom_id":"c","method":"POST","url":"/v1/completions","body":${'['.repeat(100)}${']'.repeat(100)}}`,
        '{"custom_id":"d","method":"POST","url":"/v1/completions","body":{"stream":true}}',
        `{"custom_id":"e","method":"POST","url":"/v1/completions","body":{"prompt":"${'x'.repeat(1 << 20)}"}}`,
      ].join('\n'),
    )
    const error: unknown = await Journal.create(
      join(folder, 'journal.sqlite'),
      record,
      readJobFile(input),
    ).catch((error: unknown) => error)
    if (!isHearthError(error, 'input-invalid')) throw error
    expect(error.data['errorCount']).toBe(6)
    expect(error.data['errors']).toMatchObject([
      { line: 2, message: expect.stringContaining('not JSON') as unknown },
      { line: 4, message: 'custom_id "a" is already used in line 1' },
      { line: 5, message: expect.stringContaining('url must be one of') as unknown },
      { line: 6, message: expect.stringContaining('nested deeper') as unknown },
      { line: 7, message: expect.stringContaining('stream') as unknown },
      { line: 8, message: expect.stringContaining('longer than') as unknown },
    ])
    expect(Journal.open(join(folder, 'journal.sqlite'))).toBeUndefined()
  })

  test('an absent or an empty file is refused', async () => {
    await writeFile(join(folder, 'empty.jsonl'), '\n\n')
    const open = (name: string): Promise<Journal> =>
      Journal.create(join(folder, `${name}.sqlite`), record, readJobFile(join(folder, name)))
    await expect(open('absent.jsonl')).rejects.toThrow(/cannot read/i)
    await expect(open('empty.jsonl')).rejects.toThrow(/no requests/)
  })
})

describe('an output file', () => {
  async function settled(): Promise<Journal> {
    const journal = await create('a')
    journal.commit([sent(1, 0)], [entry(0, 1)], 5)
    return journal
  }

  test('has one line per settled request in OpenAI batch form, in the order of the input', async () => {
    const journal = await create('a', 'b', 'c')
    const bad = entry(1, 1, '{"code":"request-invalid","message":"too long"}')
    bad.result.outcome = 'bad-request'
    journal.commit([sent(1, 0, 1, 2)], [entry(2, 1), bad, entry(0, 1)], 5)
    const output = join(folder, 'out.jsonl')
    await writeOutputFile(output, 'job', journal.lines())
    const lines = (await readFile(output, 'utf8'))
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text) as Record<string, unknown>)
    expect(lines).toMatchObject([
      { custom_id: 'a', response: { status_code: 200, body: { a: 1 } }, error: null },
      { custom_id: 'b', response: null, error: { code: 'request-invalid', message: 'too long' } },
      { custom_id: 'c', response: { status_code: 200 }, error: null },
    ])
    journal.close()
  })

  test('that cannot be written is a clear error, and leaves nothing behind', async () => {
    const journal = await create('a')
    await expect(
      writeOutputFile(join(folder, 'absent', 'out.jsonl'), 'job', journal.lines()),
    ).rejects.toThrow(/results are safe/)
    journal.close()
  })

  test('is for its user alone, and a link stays a link to what is written', async () => {
    const journal = await settled()
    const link = join(folder, 'link.jsonl')
    await symlink('real.jsonl', link)
    await writeOutputFile(link, 'job', journal.lines())
    expect((await lstat(link)).isSymbolicLink()).toBe(true)
    expect((await stat(link)).mode & 0o777).toBe(0o600)
    expect(await readFile(join(folder, 'real.jsonl'), 'utf8')).toContain('"custom_id":"a"')
    journal.close()
  })

  test('never replaces the file of another job, nor a device', async () => {
    const journal = await settled()
    const output = join(folder, 'out.jsonl')
    await writeOutputFile(output, 'one', journal.lines())
    await writeOutputFile(output, 'one', journal.lines())
    await expect(writeOutputFile(output, 'two', journal.lines())).rejects.toThrow(
      /another program or job wrote it/,
    )
    await symlink('/dev/null', join(folder, 'null'))
    await writeOutputFile(join(folder, 'null'), 'two', journal.lines())
    expect((await stat(join(folder, 'null'))).isCharacterDevice()).toBe(true)
    journal.close()
  })

  test('is refused before a job when it would destroy something', async () => {
    const inputPath = join(folder, 'in.jsonl')
    const other = join(folder, 'other.jsonl')
    await writeFile(inputPath, 'prompts')
    await writeFile(other, 'thesis')
    await symlink('in.jsonl', join(folder, 'same'))
    const claim = (path: string, isForced = false): Promise<void> =>
      claimOutput(path, { jobId: 'job', inputPath, isForced })
    await expect(claim(inputPath, true)).rejects.toThrow(/is the input file/)
    await expect(claim(join(folder, 'same'), true)).rejects.toThrow(/is the input file/)
    await expect(claim(other)).rejects.toThrow(/--force/)
    await expect(claim(folder, true)).rejects.toThrow(/folder/)
    await expect(claim(join(folder, 'absent', 'out.jsonl'))).rejects.toThrow(/cannot write -o/)
    expect(await readFile(other, 'utf8')).toBe('thesis')
    await claim(other, true)
    await claim('-')
    await claim('/dev/null')
    await claim(join(folder, 'new.jsonl'))
  })
})

test('requests are read in the order of their leases, whether or not they follow one another in the file', async () => {
  using journal = await create('a', 'b', 'c', 'd')
  const keys = [2, 3, 0, 1, 3].map((n, index) => ({ n, epoch: index + 1 }))
  const prompts = journal.requests(keys).map(({ n, epoch, body }) => [n, epoch, JSON.parse(body).prompt])
  expect(prompts).toEqual([
    [2, 1, 'c'],
    [3, 2, 'd'],
    [0, 3, 'a'],
    [1, 4, 'b'],
    [3, 5, 'd'],
  ])
  expect(() => journal.requests([{ n: 4, epoch: 1 }])).toThrow('a lease is of no request')
})

test('results that come together are committed, second or stale as each would be alone', async () => {
  using journal = await create(...Array.from({ length: 80 }, (_, n) => `id-${n}`))
  const all = Array.from({ length: 80 }, (_, n) => n)
  journal.commit([sent(1, ...all)], [entry(70, 1)], 5)
  const results = [...all.slice(0, 70).map((n) => entry(n, n === 40 ? 2 : 1)), entry(70, 1), entry(3, 1)]
  const verdicts = journal.commit([], results, 6)
  expect(verdicts.filter((verdict) => verdict === 'committed')).toHaveLength(69)
  expect([verdicts[40], verdicts[70], verdicts[71]]).toEqual(['stale', 'duplicate', 'duplicate'])
  expect(
    journal.commit(
      [],
      [...all.slice(71, 80), 40].map((n) => entry(n, 1)),
      7,
    ),
  ).toEqual(Array.from({ length: 10 }, () => 'committed'))
  expect([...journal.lines()].map(({ ok }) => ok)).toEqual(all.map(() => true))
  expect(
    journal.commit(
      [],
      all.map((n) => entry(n, 1)),
      8,
    ),
  ).toEqual(all.map(() => 'duplicate'))
})

test('the causes of error lines stay apart under one code, and numbers and quoted values make no new cause', async () => {
  using journal = await create(...Array.from({ length: 9 }, (_, n) => `id-${n}`))
  const messages = [
    ...[5123, 7000, 2049].map((tokens) => `the prompt has ${tokens} tokens, and 2048 fit`),
    ...['a', 'b'].map((name) => `"${name}" is no tool`),
    'the schema is not an object',
  ]
  const bad = messages.map((message, n) => {
    const { peer, result } = entry(n, 1, JSON.stringify({ code: 'request-invalid', message }))
    return { peer, result: { ...result, outcome: 'bad-request' as const } }
  })
  const broken = {
    ...entry(6, 1, 'no JSON'),
    result: { ...entry(6, 1, 'no JSON').result, outcome: 'bad-request' as const },
  }
  journal.commit([sent(1, 0, 1, 2, 3, 4, 5, 6, 7)], [...bad, broken, entry(7, 1)], 5)
  const causes = journal
    .commonErrors(10)
    .map(({ code, message, lines, exampleLine }) => [lines, exampleLine, code, message])
  expect(causes).toEqual([
    [3, 1, 'request-invalid', messages[0]],
    [2, 4, 'request-invalid', messages[3]],
    [1, 6, 'request-invalid', messages[5]],
    [1, 7, 'result-unreadable', ''],
  ])
  expect(journal.commonErrors(1)).toHaveLength(1)
})
