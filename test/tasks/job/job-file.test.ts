import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { beforeEach, describe, expect, test } from 'vitest'
import {
  BATCH_FILE,
  formatOf,
  readJobFile,
  type BodyCheck,
  type JobFileOptions,
  type JobLine,
  type LineError,
} from '../../../src/tasks/job/job-file.ts'
import { Template } from '../../../src/tasks/job/template.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

let folder: string
beforeEach(() => {
  folder = temporaryFolder('job-file')
})

async function read(
  text: string | Buffer,
  options: Partial<JobFileOptions>,
  check?: BodyCheck,
): Promise<(JobLine | LineError)[]> {
  const path = join(folder, 'in')
  await writeFile(path, text)
  return Array.fromAsync(readJobFile(path, { ...BATCH_FILE, ...options }, check))
}

const bodies = (lines: (JobLine | LineError)[]): unknown[] =>
  lines.map((line) => ('body' in line ? (JSON.parse(line.body) as unknown) : line))

describe('the format of a job file', () => {
  test.each([
    ['a.jsonl', undefined, 'batch'],
    ['a.txt', undefined, 'text'],
    ['a.jsonl', '{x}', 'jsonl'],
    ['a.CSV', '{x}', 'csv'],
    ['a.txt.gz', undefined, 'text'],
    ['a.csv.zst', '{x}', 'csv'],
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
      { line: 3, message: 'the record has no field "claim", which the template uses' },
      { line: 4, message: 'not a record: each line must be a JSON object' },
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

describe('what users gave', () => {
  const ids = (lines: (JobLine | LineError)[]): unknown[] =>
    lines.map((line) => ('customId' in line ? line.customId : line.message))

  test('keeps numbers as they stand in the file, in prompts and ids', async () => {
    const numbers = ['1718000000000000001', '653247040368672768', '1.0', '1e400', '-0', '7']
    const file = numbers.map((text) => `{"id":${text},"claim":${text}}`).join('\n')
    const lines = await read(file, { format: 'jsonl', template: '{claim}', url: '/v1/completions' })
    expect(ids(lines)).toEqual(numbers)
    expect(bodies(lines)).toEqual(numbers.map((prompt) => ({ prompt })))
    const [line] = await read(
      '{"custom_id":"a","url":"/v1/completions","body":{"prompt":"a","top_k":12345678901234567890}}',
      {},
    )
    expect(line).toMatchObject({ body: '{"prompt":"a","top_k":12345678901234567890}' })
  })

  test('keeps the white space of prompts, without a byte order mark', async () => {
    const lines = await read('\ufeff    return x\nParis is   \r\n  \n\tRome', {
      format: 'text',
      url: '/v1/completions',
    })
    expect(bodies(lines)).toEqual([
      { prompt: '    return x' },
      { prompt: 'Paris is   ' },
      { prompt: '\tRome' },
    ])
  })

  test('is refused with its line when it is not UTF-8', async () => {
    const latin = Buffer.from('{"id":1,"claim":"a"}\n{"id":2,"claim":"S\xe3o"}\n', 'latin1')
    const records = { format: 'jsonl' as const, template: '{claim}' }
    expect((await read(latin, records))[1]).toMatchObject({
      line: 2,
      message: expect.stringContaining('not UTF-8') as unknown,
    })
    await expect(
      read(Buffer.from('id,claim\n1,S\xe3o', 'latin1'), { format: 'csv', template: '{claim}' }),
    ).rejects.toThrow(/line 2: not UTF-8/)
  })

  test.each([
    ['gzip', gzipSync],
    ['Zstandard', zstdCompressSync],
  ])('is unpacked from %s, and refused when that is damaged', async (_name, pack) => {
    const packed = pack(Buffer.from('one\ntwo\n'))
    expect(ids(await read(packed, { format: 'text' }))).toEqual(['line-1', 'line-2'])
    await expect(read(packed.subarray(0, -6), { format: 'text' })).rejects.toThrow(/cannot read/)
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

describe('the check of a body', () => {
  const line = (id: string, body: string, url = '/v1/completions'): string =>
    `{"custom_id":"${id}","method":"POST","url":"${url}","body":${body}}`
  const check: BodyCheck = (_url, body) => {
    const { prompt, top_k: topK } = body as { prompt?: unknown; top_k?: unknown }
    if (topK !== undefined && typeof topK !== 'number') return 'top_k is no number'
    return prompt === 'bad' ? 'the engine takes no such prompt' : undefined
  }

  test('makes a line of what it refuses an error of that line, defaults counted', async () => {
    const file = [
      line('a', '{"prompt":"good"}'),
      line('b', '{"prompt":"bad"}'),
      line('c', '{"prompt":"good","top_k":"x"}'),
    ]
    const lines = await read(file.join('\n'), { defaults: { top_k: 4 } }, check)
    expect(lines).toEqual([
      { line: 1, customId: 'a', url: '/v1/completions', body: '{"top_k":4,"prompt":"good"}' },
      { line: 2, message: 'the engine takes no such prompt' },
      { line: 3, message: 'top_k is no number' },
    ])
  })

  test('sees a number that is kept as text as the number that the engine reads', async () => {
    const [first] = await read(line('a', '{"prompt":"good","top_k":4.0}'), {}, check)
    expect(first).toMatchObject({ body: '{"prompt":"good","top_k":4.0}' })
  })

  test.each(['text', 'jsonl', 'csv'] as const)('is made of %s, too', async (format) => {
    const text = { text: 'good\nbad', jsonl: '{"p":"good"}\n{"p":"bad"}', csv: 'p\ngood\nbad' }[format]
    const template = format === 'text' ? {} : { template: '{p}' }
    const lines = await read(text, { format, url: '/v1/completions', ...template }, check)
    expect(lines.map((entry) => 'message' in entry)).toEqual([false, true])
  })
})

describe('the endpoint of a line', () => {
  const read1 = async (url: string): Promise<unknown> => {
    const [entry] = await read(JSON.stringify({ custom_id: 'a', method: 'POST', url, body: {} }), {})
    return entry !== undefined && 'url' in entry ? entry.url : entry?.message
  }

  test.each([
    ['/v1/chat/completions', '/v1/chat/completions'],
    ['/chat/completions', '/v1/chat/completions'],
    ['/embeddings', '/v1/embeddings'],
    ['/openai/v1/completions', '/v1/completions'],
    ['/deployments/gpt-4o/chat/completions', '/v1/chat/completions'],
    ['/openai/deployments/my.model-1/chat/completions?api-version=2024-10-21', '/v1/chat/completions'],
    ['/openai/deployments/m/embeddings?api-version=2024-10-21', '/v1/embeddings'],
    ['https://x.openai.azure.com/openai/deployments/m/completions?api-version=1', '/v1/completions'],
    ['https://api.openai.com/v1/chat/completions', '/v1/chat/completions'],
  ])('%s is %s', async (url, read) => {
    expect(await read1(url)).toBe(read)
  })

  test.each([
    '/v1/responses',
    '/v2/chat/completions',
    'chat/completions',
    '/openai/deployments//completions',
  ])('%s is none', async (url) => {
    expect(await read1(url)).toMatch(/^url: url must be one of \/v1\/chat\/completions/)
  })
})
