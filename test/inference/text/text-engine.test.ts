import { join } from 'node:path'
import { expect, test } from 'vitest'
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
