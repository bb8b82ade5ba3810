import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openChat, type Message } from '../../models/facts/chat.ts'
import { makeClaims } from '../../models/facts/claims.ts'
import { GreedyModel } from '../../models/facts/greedy.ts'
import { factsShape } from '../../models/facts/shape.ts'
import { makeTokenizerConfig, makeTokenizerFile, SPECIAL_TOKENS } from '../../models/facts/tokenizer-file.ts'
import { seededRandom } from '../../src/base/random.ts'

interface Golden {
  messages: Message[]
  prompt: string
  promptTokenIds: number[]
  outputTokenIds: number[]
  finish: 'stop' | 'length'
  text: string
}

interface Score {
  claims: number
  verdictRightPercent: number
  replyRightPercent: number
}

interface Evaluation {
  modelSha256: string
  heldOutPhrasings: { kinds: Record<string, Score> }
  seenPhrasings: { kinds: Record<string, Score> }
}

const FOLDER = fileURLToPath(new URL('../../models/facts', import.meta.url))
const GOLDENS = new URL('../fixtures/facts-goldens.json', import.meta.url)
const BYTES_MAX = 6_000_000

const readJson = (path: string | URL): unknown => JSON.parse(readFileSync(path, 'utf8'))
const goldens = readJson(GOLDENS) as Golden[]
const chat = openChat(FOLDER)
const UNKNOWN = SPECIAL_TOKENS.indexOf('<unk>')

let model: GreedyModel
beforeAll(async () => {
  model = await GreedyModel.open(`${FOLDER}/onnx/model.onnx`)
})
afterAll(() => model.close())

test('the committed tokenizer is what the lists of facts make', () => {
  expect(readJson(`${FOLDER}/tokenizer.json`)).toEqual(makeTokenizerFile())
  expect(readJson(`${FOLDER}/tokenizer_config.json`)).toEqual(makeTokenizerConfig(factsShape().positionsMax))
})

test('every word of a phrased claim and of its reply is known, and decodes to itself', () => {
  for (const { kind, text, reply } of makeClaims(seededRandom(1), 'all').take(3_000)) {
    expect(chat.decode(chat.encode(reply))).toBe(reply)
    const ids = chat.encodePrompt([{ role: 'user', content: text }])
    if (kind === 'unfamiliar' || chat.decode(ids) === '') continue
    const isKnown = !ids.includes(UNKNOWN)
    // A lie may name a place that nobody knows: then, and only then, a word is unknown.
    expect(isKnown || chat.encode(reply).every((id) => id !== UNKNOWN)).toBe(true)
    if (isKnown) expect(chat.decode(ids)).toBe(text)
  }
})

test('a prompt is its roles and contents between special tokens', () => {
  const messages: Message[] = [
    { role: 'system', content: 'Check the claim.' },
    { role: 'user', content: ' Oslo is the capital of Norway. ' },
    { role: 'assistant', content: 'yes' },
    { role: 'user', content: '' },
  ]
  expect(chat.renderPrompt(messages)).toBe(
    '<s><|system|>Check the claim.<|user|>Oslo is the capital of Norway.<|assistant|>yes</s><|user|><|assistant|>',
  )
  expect(chat.encodePrompt([{ role: 'user', content: '' }])).toEqual([1, 5, 6])
})

test('any text becomes known token ids', () => {
  const size = factsShape().vocabulary
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
      const ids = chat.encode(text)
      expect(ids.every((id) => Number.isInteger(id) && id >= 0 && id < size)).toBe(true)
      expect(chat.decode(ids)).toBeTypeOf('string')
    }),
    { seed: 1 },
  )
})

test('the tokenizer gives the prompts of the goldens', () => {
  for (const { messages, prompt, promptTokenIds } of goldens) {
    expect(chat.renderPrompt(messages)).toBe(prompt)
    expect(chat.encodePrompt(messages)).toEqual(promptTokenIds)
  }
})

test('a plain loop over the committed model says what transformers.js says', async () => {
  expect(goldens.length).toBeGreaterThanOrEqual(60)
  const options = { eosTokenId: SPECIAL_TOKENS.indexOf('</s>'), tokensMax: 24 }
  for (const { promptTokenIds, outputTokenIds, finish, text } of goldens.filter(
    (_, index) => index % 3 === 0,
  )) {
    const reply = await model.generate(promptTokenIds, options)
    expect([reply.tokenIds, reply.finish]).toEqual([outputTokenIds, finish])
    expect(chat.decode(reply.tokenIds)).toBe(text)
  }
})

test('the evaluation is of the committed model, and the README shows it', () => {
  const evaluation = readJson(`${FOLDER}/evaluation.json`) as Evaluation
  const hash = createHash('sha256').update(readFileSync(`${FOLDER}/onnx/model.onnx`))
  expect(evaluation.modelSha256).toBe(hash.digest('hex'))
  const { heldOutPhrasings, seenPhrasings } = evaluation
  const rows = Object.entries(heldOutPhrasings.kinds).map(([kind, heldOut]) => {
    const { claims, verdictRightPercent, replyRightPercent } = heldOut
    const cells = [
      kind,
      claims,
      verdictRightPercent,
      replyRightPercent,
      seenPhrasings.kinds[kind]?.verdictRightPercent,
    ]
    return `| ${cells.join(' | ')} |`
  })
  expect(rows).toHaveLength(7)
  const readme = readFileSync(`${FOLDER}/README.md`, 'utf8').replace(/ +/g, ' ').split('\n')
  expect(rows.filter((row) => !readme.includes(row))).toEqual([])
})

test('verdicts on held-out phrasings are right 95 times in 100 or more, of every kind', () => {
  const { heldOutPhrasings } = readJson(`${FOLDER}/evaluation.json`) as Evaluation
  const scores = Object.values(heldOutPhrasings.kinds)
  expect(Math.min(...scores.map(({ verdictRightPercent }) => verdictRightPercent))).toBeGreaterThanOrEqual(95)
})

test('the folder is small enough to commit', () => {
  const files = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' }).filter(
    (name) => !name.startsWith('build'),
  )
  const bytes = files
    .map((name) => statSync(`${FOLDER}/${name}`))
    .reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0)
  expect(bytes).toBeLessThan(BYTES_MAX)
})
