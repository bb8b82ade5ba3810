// The embedded model through the real engine, in its process, held against what transformers.js says.
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import type { EngineResult } from '../../../src/inference/contract/engine.ts'
import type { ExecutionProvider } from '../../../src/inference/device/device-choice.ts'
import { EngineHost } from '../../../src/inference/host/engine-host.ts'
import type { EngineHostOptions } from '../../../src/inference/host/engine-host-options.ts'
import goldens from '../../fixtures/facts-goldens.json' with { type: 'json' }

const FACTS = join(import.meta.dirname, '../../../models/facts')
const CHAT = '/v1/chat/completions'

interface Choice {
  text?: string
  message?: { content: string }
  finish_reason: string
  logprobs: { tokens: string[]; token_logprobs: number[] } | null
}

function choiceOf(result: EngineResult): Choice {
  if (!result.ok) throw new Error(result.error.message)
  return (result.body['choices'] as Choice[])[0] as Choice
}

/** On a machine with a graphics card: HEARTH_TEST_DEVICE=webgpu (or cuda …) runs these tests on it. */
const provider = (process.env['HEARTH_TEST_DEVICE'] ?? 'cpu') as ExecutionProvider
// A card compiles its kernels first; a card in software is slow at everything.
if (provider !== 'cpu') vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 })
// CoreML is in no build for Linux or Windows, and DirectML in none but those for Windows.
const absent = process.platform === 'darwin' ? 'dml' : 'coreml'

const hostOf = (options: Omit<EngineHostOptions, 'folder'>): EngineHost =>
  new EngineHost({ clock: systemClock, log: silentLogger }, { folder: FACTS, ...options })

test('a model that a device does not take runs on the processor, and says so', async () => {
  const host = hostOf({ provider: absent, slots: 1 })
  const facts = await host.start()
  await host.stop()
  expect(facts).toMatchObject({ provider: 'cpu', numericClass: expect.stringContaining('/cpu/') })
})

test('a quick start answers from unprepared weights, then from prepared ones, and says which', async () => {
  const host = hostOf({ quickStart: true, slots: 1, engine: 'ort-delta', provider })
  const ask = async (): Promise<string | undefined> =>
    choiceOf(await host.run({ url: '/v1/completions', body: { prompt: 'Gold', max_tokens: 4 } })).text
  expect((await host.start()).numericClass).toContain('-unpacked/')
  const quick = await ask()
  await expect.poll(() => host.facts?.numericClass, { timeout: 30_000 }).not.toContain('-unpacked/')
  expect(await ask()).toBe(quick)
  await host.stop()
})

describe.each(['ort-present', 'ort-delta'] as const)('%s', (engine) => {
  const host = hostOf({ engine, provider, slots: 16 })
  beforeAll(() => host.start())
  afterAll(() => host.stop())

  test('runs on the device that was asked for', () => {
    expect(host.facts).toMatchObject({ engine, provider })
  })

  test('every chat of the goldens, all at once, gives their text, length and end', async () => {
    const results = await Promise.all(
      goldens.map(({ messages }) => host.run({ url: CHAT, body: { messages, max_tokens: 24 } })),
    )
    for (const [index, golden] of goldens.entries()) {
      const result = results[index] as EngineResult
      expect(choiceOf(result)).toMatchObject({
        message: { role: 'assistant', content: golden.text },
        finish_reason: golden.finish,
      })
      expect(result).toMatchObject({
        usage: {
          promptTokens: golden.promptTokenIds.length,
          completionTokens: golden.outputTokenIds.length + (golden.finish === 'stop' ? 1 : 0),
        },
      })
    }
  })

  test('a prompt of token ids gives the same as the chat that makes them', async () => {
    for (const { promptTokenIds, text } of goldens.slice(0, 5)) {
      const result = await host.run({
        url: '/v1/completions',
        body: { prompt: promptTokenIds, max_tokens: 24 },
      })
      expect(choiceOf(result).text).toBe(text)
    }
  })

  test('bad requests between good ones are answered with what is wrong, and harm nothing', async () => {
    const messages = [{ role: 'user', content: 'Paris is the capital of France.' }]
    const bad: [unknown, string][] = [
      [undefined, 'body'],
      ['{"messages":', 'body'],
      [{}, 'messages'],
      [{ messages: [] }, 'messages'],
      [{ messages: [{ role: 'robot', content: 'x' }] }, 'messages.0.role'],
      [{ messages, max_tokens: 0 }, 'max_tokens'],
      [{ messages, temperature: 'hot' }, 'temperature'],
      [{ messages, max_token: 5 }, 'max_token is not supported'],
      [{ messages, tools: [{ type: 'function', function: { name: 'f' } }] }, 'tools is not supported'],
      [{ messages, n: 2 }, 'only 1 is supported'],
      [
        { messages: [{ role: 'user', content: 'word '.repeat(600) }] },
        'prompt and answer together may have 512',
      ],
    ]
    const results = await Promise.all(
      bad.flatMap(([body]) => [host.run({ url: CHAT, body }), host.run({ url: CHAT, body: { messages } })]),
    )
    for (const [index, [, text]] of bad.entries()) {
      const [refused, answered] = results.slice(index * 2, index * 2 + 2) as [EngineResult, EngineResult]
      expect(refused).toMatchObject({ ok: false, statusCode: 400, error: { code: 'request-invalid' } })
      expect((refused as Extract<EngineResult, { ok: false }>).error.message).toContain(text)
      expect(choiceOf(answered).message?.content).toBe('The capital of France is Paris. yes')
    }
    expect(await host.run({ url: '/v1/embeddings', body: { input: 'x' } })).toMatchObject({ ok: false })
  })

  test('seeded sampling repeats itself, whatever runs beside it', async () => {
    const request = (seed: number) => ({
      url: CHAT,
      body: { messages: [{ role: 'user', content: '3 + 4 = 8.' }], temperature: 3, seed, max_tokens: 12 },
    })
    const alone = choiceOf(await host.run(request(5)))
    const among = await Promise.all([1, 2, 3, 5, 4, 6].map((seed) => host.run(request(seed))))
    expect(choiceOf(among[3] as EngineResult)).toEqual(alone)
    expect(new Set(among.map((result) => choiceOf(result).message?.content)).size).toBeGreaterThan(3)
  })

  test('a stop string ends the text before it, and log-probabilities come when asked for', async () => {
    const body = { prompt: goldens[0]?.promptTokenIds, max_tokens: 24, stop: [' ='], logprobs: 2 }
    const choice = choiceOf(await host.run({ url: '/v1/completions', body }))
    expect(choice).toMatchObject({ text: '19 + 11', finish_reason: 'stop' })
    expect(choice.logprobs?.tokens).toHaveLength(4)
    for (const logprob of choice.logprobs?.token_logprobs ?? []) expect(logprob).toBeLessThanOrEqual(0)
  })
})
