import { afterAll, beforeAll, expect, test } from 'vitest'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { nextBatch } from '../../../src/inference/batching/core/encoder-batch.ts'
import type { EngineResult } from '../../../src/inference/contract/engine.ts'
import { EngineHost } from '../../../src/inference/host/engine-host.ts'
import { writeSmallEncoder } from '../../../testing/small-encoder.ts'

const URL = '/v1/embeddings'
let host: EngineHost

beforeAll(async () => {
  const folder = writeSmallEncoder()
  host = new EngineHost({ clock: systemClock, log: silentLogger }, { folder, slots: 4 })
  await host.start()
})
afterAll(() => host.stop())

function vectorsOf(result: EngineResult): number[][] {
  if (!result.ok) throw new Error(result.error.message)
  return (result.body['data'] as { embedding: number[] }[]).map(({ embedding }) => embedding)
}

const TEXTS = [
  'Paris',
  'The capital of France is Paris.',
  '3 + 4 = 7',
  'The capital of Peru is Lima. '.repeat(5),
]

test('an embedding model is told by its graph', () => {
  expect(host.facts).toMatchObject({ engine: 'embeddings', slots: 4, contextLengthMax: 128 })
})

test('texts become vectors of length 1, in their order, the same alone and together', async () => {
  const together = await host.run({ url: URL, body: { input: TEXTS, model: 'm' } })
  const alone = await Promise.all(TEXTS.map((input) => host.run({ url: URL, body: { input } })))
  const vectors = vectorsOf(together)
  expect(vectors).toEqual(alone.flatMap(vectorsOf))
  for (const vector of vectors) expect(Math.hypot(...vector)).toBeCloseTo(1)
  expect(new Set(vectors.map((vector) => vector.join())).size).toBe(TEXTS.length)
  expect(together).toMatchObject({ body: { object: 'list', model: 'm' }, usage: { completionTokens: 0 } })
})

test('base64 carries the same numbers as little-endian fp32', async () => {
  const [plain] = vectorsOf(await host.run({ url: URL, body: { input: 'Lima' } }))
  const coded = await host.run({ url: URL, body: { input: 'Lima', encoding_format: 'base64' } })
  const bytes = Buffer.from(vectorsOf(coded)[0] as unknown as string, 'base64')
  expect(plain?.map((_, index) => bytes.readFloatLE(index * 4))).toEqual(plain)
})

test.each([
  [{ url: URL, body: {} }, 'input'],
  [{ url: URL, body: { input: [] } }, 'input'],
  [{ url: URL, body: { input: 'word '.repeat(200) } }, 'takes at most 128'],
  [{ url: URL, body: { input: [[99_999]] } }, 'token 99999 of the input is not in'],
  [{ url: URL, body: { input: 'x', dimensions: 8 } }, 'dimensions is not supported'],
  [{ url: '/v1/chat/completions', body: { messages: [] } }, 'this context makes embeddings'],
])('%j is refused', async (request, why) => {
  const result = await host.run(request)
  expect(result).toMatchObject({ ok: false, statusCode: 400, error: { code: 'request-invalid' } })
  expect((result as Extract<EngineResult, { ok: false }>).error.message).toContain(why)
})

test('tokens beyond the vocabulary and beyond the positions are errors of their lines; the others are answered', async () => {
  const input = (index: number): unknown => {
    if (index % 20 === 10) return [100_257]
    if (index % 20 === 15) return Array(129).fill(3)
    return `Gold is metal number ${index}.`
  }
  const { pid } = host
  const results = await Promise.all(
    Array.from({ length: 60 }, (_, index) => host.run({ url: URL, body: { input: input(index) } })),
  )
  const messages = results.map((result) => (result.ok ? '' : result.error.message))
  expect(messages.filter((message) => message.startsWith('token 100257 of the input'))).toHaveLength(3)
  expect(messages.filter((message) => message.startsWith('the input has 129 tokens'))).toHaveLength(3)
  const good = results.flatMap((result) => (result.ok ? vectorsOf(result) : []))
  expect(good).toHaveLength(54)
  const [first] = vectorsOf(await host.run({ url: URL, body: { input: input(0) } }))
  expect(good[0]).toEqual(first)
  expect(host.pid).toBe(pid)
})

test('a step takes texts of like length, oldest first, within its bounds', () => {
  const texts = [50, 9, 52, 51, 400, 10].map((length) => ({ tokens: Array.from({ length }, () => 0) }))
  const lengths = (rowsMax: number, tokensMax: number): number[] =>
    nextBatch(texts, { rowsMax, tokensMax }).map(({ tokens }) => tokens.length)
  expect(lengths(8, 1_000)).toEqual([50, 52, 51])
  expect(lengths(2, 1_000)).toEqual([50, 52])
  expect(lengths(8, 60)).toEqual([50])
  expect(lengths(8, 10)).toEqual([50])
})
