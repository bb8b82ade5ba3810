import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  BATCH_FILE,
  formatOf,
  readJobFile,
  type JobFileOptions,
  type JobLine,
  type LineError,
} from '../../../src/tasks/job/job-file.ts'
import { Template } from '../../../src/tasks/job/template.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hearth-job-file-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function read(text: string, options: Partial<JobFileOptions>): Promise<(JobLine | LineError)[]> {
  const path = join(folder, 'in')
  await writeFile(path, text)
  return Array.fromAsync(readJobFile(path, { ...BATCH_FILE, ...options }))
}

const bodies = (lines: (JobLine | LineError)[]): unknown[] =>
  lines.map((line) => ('body' in line ? (JSON.parse(line.body) as unknown) : line))

describe('the format of a job file', () => {
  test.each([
    ['a.jsonl', undefined, 'batch'],
    ['a.txt', undefined, 'text'],
    ['a.jsonl', '{x}', 'jsonl'],
    ['a.CSV', '{x}', 'csv'],
    ['a', undefined, 'batch'],
  ])('%s with template %s is %s', (path, template, format) => {
    expect(formatOf(path, template)).toBe(format)
  })
})

describe('text', () => {
  test('is a prompt a line, named by its line; blank lines are passed over', async () => {
    const lines = await read('one\n\ntwo\r\n', { format: 'text', defaults: { max_tokens: 5 } })
    expect(lines.map((line) => 'customId' in line && line.customId)).toEqual(['line-1', 'line-3'])
    expect(bodies(lines)).toEqual([
      { max_tokens: 5, messages: [{ role: 'user', content: 'one' }] },
      { max_tokens: 5, messages: [{ role: 'user', content: 'two' }] },
    ])
  })

  test.each([
    ['/v1/completions' as const, { prompt: 'one' }],
    ['/v1/embeddings' as const, { input: 'one' }],
  ])('goes to %s in its form', async (url, body) => {
    expect(bodies(await read('one', { format: 'text', url }))).toEqual([body])
  })
})

describe('records with a template', () => {
  const template = String.raw`Claim: {claim}\nVerdict {{yes}}:`

  test('JSONL fills it, with the record’s own id where it has one', async () => {
    const lines = await read('{"claim":"a","id":7}\n{"claim":{"x":1}}\n{"other":1}\n[1]', {
      format: 'jsonl',
      template,
    })
    expect(bodies(lines)).toEqual([
      { messages: [{ role: 'user', content: 'Claim: a\nVerdict {yes}:' }] },
      { messages: [{ role: 'user', content: 'Claim: {"x":1}\nVerdict {yes}:' }] },
      { line: 3, message: 'it has no field "claim", which the template names' },
      { line: 4, message: 'not a record: a JSON object is needed' },
    ])
    expect(lines.slice(0, 2)).toMatchObject([{ customId: '7' }, { customId: 'line-2' }])
  })

  test('CSV fills it, with quoted commas and line breaks, and knows where each record begins', async () => {
    const lines = await read('id,claim\n1,"a, b"\n2,"two\nlines"\n3,last\n', {
      format: 'csv',
      template: '{claim}',
    })
    expect(lines).toMatchObject([
      { line: 2, customId: '1' },
      { line: 3, customId: '2' },
      { line: 5, customId: '3' },
    ])
    expect(bodies(lines)[1]).toEqual({ messages: [{ role: 'user', content: 'two\nlines' }] })
  })

  test('a CSV row with too many cells is reported with its line', async () => {
    const lines = await read('id,claim\n1,a\n2,b,c\n', { format: 'csv', template: '{claim}' })
    expect(lines[1]).toMatchObject({ line: 3, message: expect.stringContaining('not CSV') as unknown })
  })

  test('without a template is a usage error', async () => {
    await expect(read('{}', { format: 'jsonl' })).rejects.toThrow(/--template/)
  })
})

describe('a batch', () => {
  test('takes options of the job where the line has none of its own', async () => {
    const line = (body: object): string =>
      JSON.stringify({ custom_id: JSON.stringify(body), url: '/v1/completions', body })
    const lines = await read(`${line({ prompt: 'a' })}\n${line({ prompt: 'b', temperature: 1 })}`, {
      defaults: { temperature: 0 },
    })
    expect(bodies(lines)).toEqual([
      { temperature: 0, prompt: 'a' },
      { temperature: 1, prompt: 'b' },
    ])
  })
})

describe('a template', () => {
  test('knows the text that all its prompts begin with', () => {
    expect(new Template('Read this: {a} {b}').prefix).toBe('Read this: ')
    expect(new Template('{a}').prefix).toBe('')
  })

  test.each(['no field', 'a lone { brace {x}', 'a lone } brace {x}'])('"%s" is refused', (source) => {
    expect(() => new Template(source)).toThrow(/template/)
  })
})
