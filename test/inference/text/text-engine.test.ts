import { join } from 'node:path'
import { expect, test } from 'vitest'
import { HearthError } from '../../../src/base/errors.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { readContextFiles } from '../../../src/inference/contract/model-folder.ts'
import type { EngineRequest } from '../../../src/inference/contract/engine.ts'
import type { TokenModel } from '../../../src/inference/contract/token-model.ts'
import { TextEngine } from '../../../src/inference/text/text-engine.ts'

const FACTS = join(import.meta.dirname, '../../../models/facts')

/** A model that always says token 1. */
const model: TokenModel = {
  facts: {
    slots: 4,
    engine: 'ort-delta',
    numericClass: 'test',
    contextLengthMax: 128,
    vocabularySize: 512,
  },
  run: async (sequence) => {
    for (let token = sequence.take(1); token !== undefined;) token = sequence.take(token)
  },
  close: async () => {},
}

const chat = (content: unknown): EngineRequest => ({
  url: '/v1/chat/completions',
  body: { messages: [{ role: 'user', content }], max_tokens: 2 },
})

test.each([
  [
    'template',
    chat('planted'),
    "{% if messages[0].content == 'planted' %}{{ raise_exception('no') }}{% endif %}x",
  ],

  ['tokens', { url: '/v1/completions', body: { prompt: [1, 99_999], max_tokens: 2 } }, 'x'],
  ['body', { url: '/v1/completions', body: null }, 'x'],
])(
  'a request that throws in its %s is refused, and the next is answered',
  async (_stage, request, chatTemplate) => {
    const files = { ...(await readContextFiles(FACTS)), chatTemplate }
    const engine = new TextEngine({ model, clock: systemClock, random: seededRandom(1) }, files)
    const refused = { ok: false, statusCode: 400, error: { code: 'request-invalid' } }
    expect(await engine.run(request)).toMatchObject(refused)
    expect(await engine.run({ url: '/v1/completions', body: { prompt: 'Gold' } })).toMatchObject({ ok: true })
  },
)

test('a request whose answer cannot be written is refused, and its engine lives on', async () => {
  const files = await readContextFiles(FACTS)
  let isPlanted = true
  const wallMs = (): number => {
    if (isPlanted) throw new RangeError('planted')
    return 0
  }
  const clock = Object.assign(Object.create(systemClock) as typeof systemClock, { wallMs })
  const engine = new TextEngine({ model, clock, random: seededRandom(1) }, files)
  const request = { url: '/v1/completions', body: { prompt: 'Gold' } }
  const error = { code: 'request-invalid', message: 'this request cannot be answered: planted' }
  expect(await engine.run(request)).toMatchObject({ ok: false, statusCode: 400, error })
  isPlanted = false
  expect(await engine.run(request)).toMatchObject({ ok: true })
})

test('each prompt of a list has the choice that it has alone, and usage is their sum', async () => {
  const files = await readContextFiles(FACTS)
  // Says the prompt's last token once for each of the prompt's tokens, and shortest prompts first.
  const run: TokenModel['run'] = async (sequence) => {
    for (const _ of sequence.promptTokens) {
      await Promise.resolve()
      if (sequence.take(sequence.promptTokens.at(-1)!) === undefined) return
    }
  }
  const engine = new TextEngine(
    { model: { ...model, run }, clock: systemClock, random: seededRandom(1) },
    files,
  )
  const ask = async (prompt: unknown): Promise<{ choices: object[]; usage: Record<string, number> }> => {
    const result = await engine.run({
      url: '/v1/completions',
      body: { prompt, max_tokens: 3, logprobs: null },
    })
    if (!result.ok) throw new Error(result.error.message)
    return result.body as never
  }
  const alone = await Promise.all([[10, 11, 12], [20], [30, 31]].map((prompt) => ask(prompt)))
  const together = await ask([[10, 11, 12], [20], [30, 31]])
  expect(together.choices).toEqual(alone.map(({ choices }, index) => ({ ...choices[0], index })))
  const sum = (name: string): number => alone.reduce((total, { usage }) => total + usage[name]!, 0)
  expect(together.usage).toEqual({
    prompt_tokens: sum('prompt_tokens'),
    completion_tokens: sum('completion_tokens'),
    total_tokens: sum('total_tokens'),
  })
})

test('one prompt of a list that cannot be run refuses the request and frees the slots of the others', async () => {
  const files = await readContextFiles(FACTS)
  let ended = 0
  const run: TokenModel['run'] = (sequence, signal) => {
    if (sequence.promptTokens[0] === 1) return Promise.reject(new HearthError('request-invalid', 'planted'))
    const { promise, reject } = Promise.withResolvers<void>()
    signal?.addEventListener('abort', () => {
      ended += 1
      reject(signal.reason as Error)
    })
    return promise
  }
  const engine = new TextEngine(
    { model: { ...model, run }, clock: systemClock, random: seededRandom(1) },
    files,
  )
  const request = { url: '/v1/completions', body: { prompt: [[2], [1], [3]] } }
  const error = { code: 'request-invalid', message: 'planted' }
  expect(await engine.run(request)).toEqual({ ok: false, statusCode: 400, error })
  expect(ended).toBe(2)
})
