// Writes what stock transformers.js says, batch 1, for the engine's tests to hold Hearth against:
//   test/fixtures/facts-goldens.json          the facts model on chats
//   test/fixtures/random-llama-goldens.json   small random models on token ids, with how to build them
// node make-goldens.mjs, in this folder after `npm ci`. Nothing is fetched from a network.
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { AutoModelForCausalLM, AutoTokenizer, env, Tensor } from '@huggingface/transformers'
import { randomInteger, seededRandom } from '../../src/base/random.ts'
import { buildLlamaGraph, llamaConfig } from '../../src/inference/graph/llama-graph.ts'
import { randomWeights } from '../../src/inference/graph/llama-weights.ts'
import { writeModel } from '../../src/inference/onnx/onnx-writer.ts'
import { makeClaims } from '../../models/facts/claims.ts'
import { GreedyModel } from '../../models/facts/greedy.ts'
import { SYSTEM_PROMPTS } from '../../models/facts/templates.ts'

const FACTS = join(import.meta.dirname, '../../models/facts')
const FIXTURES = join(import.meta.dirname, '../../test/fixtures')
const TOKENS_MAX = 24

/** A case with a smaller lead than this is left out: another processor may choose the other token. */
const MARGIN_MIN = 1e-3

env.allowRemoteModels = false
env.allowLocalModels = true
env.useFSCache = false

const openOracle = (folder) => {
  env.localModelPath = `${dirname(folder)}/`
  return AutoModelForCausalLM.from_pretrained(basename(folder), { dtype: 'fp32', device: 'cpu' })
}

const integerRow = (ids) => new Tensor('int64', BigInt64Array.from(ids.map(BigInt)), [1, ids.length])

/** Token ids after the prompt, without the end token. */
async function generate(oracle, promptTokenIds, eosTokenId) {
  const inputs = integerRow(promptTokenIds)
  const attention_mask = integerRow(promptTokenIds.map(() => 1))
  const sequences = await oracle.generate({
    inputs,
    attention_mask,
    max_new_tokens: TOKENS_MAX,
    do_sample: false,
    ...(eosTokenId === undefined ? {} : { eos_token_id: eosTokenId }),
  })
  const outputTokenIds = sequences.tolist()[0].slice(promptTokenIds.length).map(Number)
  const isStopped = eosTokenId !== undefined && outputTokenIds.at(-1) === eosTokenId
  return {
    outputTokenIds: isStopped ? outputTokenIds.slice(0, -1) : outputTokenIds,
    finish: isStopped ? 'stop' : 'length',
  }
}

/** What both the oracle and our plain loop say; undefined where the choice of a token is too close. */
async function goldenOf(oracle, plain, promptTokenIds, eosTokenId) {
  const golden = await generate(oracle, promptTokenIds, eosTokenId)
  const ours = await plain.generate(promptTokenIds, { eosTokenId, tokensMax: TOKENS_MAX })
  if (ours.marginMin < MARGIN_MIN) return undefined
  if (golden.outputTokenIds.join() !== ours.tokenIds.join() || golden.finish !== ours.finish) {
    throw new Error(`transformers.js and models/facts/greedy.ts differ on [${promptTokenIds.join()}]`)
  }
  return { promptTokenIds, ...golden }
}

const user = (content) => [{ role: 'user', content }]

function factsChats() {
  const claims = [...makeClaims(seededRandom(7), 'held-out').take(60)].map(({ text }) => text)
  const long = claims.slice(0, 25).join(' ')
  return [
    ...claims.map(user),
    ...claims
      .slice(0, 12)
      .map((claim, index) => [
        { role: 'system', content: SYSTEM_PROMPTS[index % SYSTEM_PROMPTS.length] },
        ...user(claim),
      ]),
    [...user('3 + 4 = 8.'), { role: 'assistant', content: '3 + 4 = 7. no' }, ...user('9 + 9 = 18.')],
    ...[
      '',
      '   \n ',
      'Zyzzyva qwerty.',
      'paris is the capital of france',
      'Bogota\u0301 is the capital of Colombia.',
      'Brasília is the capital of Brazil.',
      '東京は日本の首都です。',
      '🦙🔥 \u{1F469}\u200D\u{1F680}',
      'Париж — столица Франции?',
      '<unk> </s',
      '1234567890 + 3.14 = x^2',
      '\ud800 a lone surrogate',
      'tab\tand\nnewline \u00a0 no-break \u200b zero-width',
      "It's {{ bos_token }} {% raw %}",
      'a',
      '.',
      long,
      'The capital of France is Paris. '.repeat(40),
    ].map(user),
  ]
}

async function factsGoldens() {
  const oracle = await openOracle(FACTS)
  const tokenizer = await AutoTokenizer.from_pretrained(basename(FACTS))
  const plain = await GreedyModel.open(join(FACTS, 'onnx/model.onnx'))
  const goldens = []
  for (const messages of factsChats()) {
    const prompt = tokenizer.apply_chat_template(messages, { tokenize: false, add_generation_prompt: true })
    const promptTokenIds = tokenizer.encode(prompt, { add_special_tokens: false })
    const golden = await goldenOf(oracle, plain, promptTokenIds, oracle.config.eos_token_id)
    if (golden === undefined) continue
    const text = tokenizer.decode(golden.outputTokenIds, { skip_special_tokens: true })
    goldens.push({ messages, prompt, ...golden, text })
  }
  await plain.close()
  await oracle.dispose()
  return goldens
}

const RANDOM_SHAPE = {
  layers: 3,
  hidden: 64,
  intermediate: 160,
  headSize: 16,
  vocabulary: 256,
  positionsMax: 256,
  ropeTheta: 10_000,
  normEpsilon: 1e-5,
}

/** Grouped-query attention with two query heads to a key-value head, and ordinary attention with one. */
const RANDOM_MODELS = [
  {
    name: 'grouped-query',
    seed: 11,
    attention: 'grouped-query',
    shape: { ...RANDOM_SHAPE, heads: 4, keyValueHeads: 2 },
  },
  { name: 'plain', seed: 12, attention: 'plain', shape: { ...RANDOM_SHAPE, heads: 4, keyValueHeads: 4 } },
  {
    name: 'plain-grouped',
    seed: 11,
    attention: 'plain',
    shape: { ...RANDOM_SHAPE, heads: 4, keyValueHeads: 2 },
  },
]

/** Ids outside the vocabulary: these models are never done. */
const NO_SPECIAL_IDS = { pad_token_id: null, bos_token_id: null, eos_token_id: null }

function writeRandomModel(folder, { shape, seed, attention }) {
  mkdirSync(join(folder, 'onnx'), { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify(llamaConfig(shape, NO_SPECIAL_IDS)))
  writeFileSync(join(folder, 'generation_config.json'), '{}')
  writeModel(buildLlamaGraph(shape, randomWeights(seed), attention), join(folder, 'onnx/model.onnx'))
}

async function randomGoldens(model, parent) {
  const folder = join(parent, model.name)
  writeRandomModel(folder, model)
  const oracle = await openOracle(folder)
  const plain = await GreedyModel.open(join(folder, 'onnx/model.onnx'))
  const random = seededRandom(model.seed)
  const cases = []
  for (const length of [1, 2, 3, 5, 8, 13, 21, 34, 55, 89]) {
    const prompt = Array.from({ length }, () => randomInteger(random, model.shape.vocabulary))
    const golden = await goldenOf(oracle, plain, prompt, undefined)
    if (golden !== undefined) cases.push(golden)
  }
  await plain.close()
  await oracle.dispose()
  return { ...model, cases }
}

function writeFixture(name, items) {
  const lines = items.map((item) => `  ${JSON.stringify(item)}`)
  writeFileSync(join(FIXTURES, name), `[\n${lines.join(',\n')}\n]\n`)
  console.log(`${name}: ${items.length}`)
}

const temporary = mkdtempSync(join(tmpdir(), 'goldens-'))
try {
  mkdirSync(FIXTURES, { recursive: true })
  writeFixture('facts-goldens.json', await factsGoldens())
  const models = []
  for (const model of RANDOM_MODELS) models.push(await randomGoldens(model, temporary))
  writeFixture('random-llama-goldens.json', models)
} finally {
  rmSync(temporary, { recursive: true })
}
