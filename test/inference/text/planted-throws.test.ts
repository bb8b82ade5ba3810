// Requests that throw at any stage of a text engine, among good ones: each fails alone, as its own error.
import { cpSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { randomInteger, seededRandom, type Random } from '../../../src/base/random.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { SlotModel } from '../../../src/inference/batching/slot-model.ts'
import type { EngineRequest } from '../../../src/inference/contract/engine.ts'
import { readContextFiles, type ContextFiles } from '../../../src/inference/contract/model-folder.ts'
import type { TokenModel } from '../../../src/inference/contract/token-model.ts'
import { describeDecoder } from '../../../src/inference/graph/decoder.ts'
import { readModel } from '../../../src/inference/onnx/onnx-reader.ts'
import { FileSource } from '../../../src/inference/onnx/protobuf.ts'
import { DeltaGraph } from '../../../src/inference/running/delta-graph.ts'
import type { StepGraph } from '../../../src/inference/running/step-graph.ts'
import type { Prompt } from '../../../src/inference/text/openai-request.ts'
import { TextCodec } from '../../../src/inference/text/text-codec.ts'
import { TextEngine } from '../../../src/inference/text/text-engine.ts'
import { writeSmallModel } from '../../../testing/small-models.ts'

const FACTS = join(import.meta.dirname, '../../../models/facts')
const SHAPE = {
  layers: 1,
  hidden: 32,
  intermediate: 48,
  heads: 2,
  keyValueHeads: 1,
  headSize: 16,
  vocabulary: 512,
  positionsMax: 128,
  ropeTheta: 10_000,
  normEpsilon: 1e-5,
}
/** Tokens that no good prompt has: with each, one stage throws. */
const [KERNEL, SAMPLING, DECODING] = [501, 502, 503]
const TEMPLATE = `{% if messages[0].content == 'template' %}{{ raise_exception('planted') }}{% endif %}{{ messages[0].content }}`

let graph: StepGraph
let files: ContextFiles
beforeAll(async () => {
  const path = writeSmallModel({ shape: SHAPE, seed: 5, attention: 'grouped-query' })
  rmSync(join(dirname(path), 'shape.json'))
  const folder = dirname(dirname(path))
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json'])
    cpSync(join(FACTS, name), join(folder, name))
  files = { ...(await readContextFiles(folder)), chatTemplate: TEMPLATE }
  using source = new FileSource(path)
  const model = readModel(source)
  const decoder = describeDecoder(model, undefined)
  graph = await DeltaGraph.open({ path, model, source, decoder }, { threads: 1 })
})
afterAll(() => graph.close())

const throwing = (): StepGraph => ({
  kvShape: graph.kvShape,
  vocabularySize: graph.vocabularySize,
  sharesPrefixes: true,
  close: async () => {},
  run: async (input) => {
    if (input.rows.some((row) => row.includes(KERNEL))) throw new Error('planted in a kernel')
    return await graph.run(input)
  },
})

class ThrowingCodec extends TextCodec {
  override encode(prompt: Prompt): number[] {
    if (prompt.kind === 'text' && prompt.text === 'tokenizer') throw new TypeError('planted in the tokenizer')
    return super.encode(prompt)
  }

  override decode(tokens: readonly number[]): string {
    if (tokens.includes(DECODING)) throw new TypeError('planted in decoding')
    return super.decode(tokens)
  }
}

/** Throws in the sampling of prompts that have SAMPLING, and lets prompts that have DECODING say that token. */
function plantedIn(model: SlotModel): TokenModel {
  return {
    facts: model.facts,
    close: () => model.close(),
    run: (sequence, signal) => {
      const { promptTokens, tokensMax, isGreedy } = sequence
      const choose = (token: number | undefined): number | undefined => {
        if (promptTokens.includes(SAMPLING)) throw new TypeError('planted in sampling')
        return token
      }
      const says = (token: number): number => (promptTokens.includes(DECODING) ? DECODING : token)
      const planted = {
        promptTokens,
        tokensMax,
        isGreedy,
        take: (token: number) => choose(sequence.take(says(token))),
        next: (logits: Float32Array) =>
          choose(promptTokens.includes(DECODING) ? sequence.take(DECODING) : sequence.next(logits)),
      }
      return model.run(planted, signal)
    },
  }
}

function engine(isPlanted: boolean): TextEngine {
  const facts = {
    slots: 6,
    engine: 'ort-delta' as const,
    numericClass: 'test',
    contextLengthMax: 128,
    vocabularySize: graph.vocabularySize,
  }
  const slots = new SlotModel(isPlanted ? throwing() : graph, facts, {
    prefillTokensMax: 32,
    storeBytesMax: 1e9,
  })
  const codec = isPlanted ? new ThrowingCodec(files, () => 0) : new TextCodec(files, () => 0)
  const clock = Object.assign(Object.create(systemClock) as typeof systemClock, { wallMs: () => 0 })
  const model = isPlanted ? plantedIn(slots) : slots
  return new TextEngine({ model, clock, random: seededRandom(1), codec }, files)
}

const completion = (prompt: unknown, more: object = {}): EngineRequest => ({
  url: '/v1/completions',
  body: { prompt, max_tokens: 5, ...more },
})
const chat = (content: string, more: object = {}): EngineRequest => ({
  url: '/v1/chat/completions',
  body: { messages: [{ role: 'user', content }], max_tokens: 5, ...more },
})

const tokensOf = (random: Random, count: number): number[] =>
  Array.from({ length: count }, () => 3 + randomInteger(random, 490))

/** A request that throws at a stage. */
const STAGES: Readonly<Record<string, (random: Random) => EngineRequest>> = {
  body: () => ({ url: '/v1/completions', body: null }),
  setting: () => completion('a', { temperature: 'hot' }),
  template: () => chat('template'),
  tokenizer: () => completion('tokenizer'),
  vocabulary: (random) => completion([...tokensOf(random, 4), 99_999]),
  positions: (random) => completion(tokensOf(random, 128)),
  kernel: (random) => completion([...tokensOf(random, 9), KERNEL]),
  sampling: (random) => completion([...tokensOf(random, 9), SAMPLING]),
  'sampling with logits': (random) => completion([SAMPLING, ...tokensOf(random, 3)], { temperature: 1 }),
  decoding: (random) => completion([...tokensOf(random, 5), DECODING]),
  'decoding for a stop string': (random) => completion([DECODING, ...tokensOf(random, 3)], { stop: 'zq' }),
  'one of several prompts': (random) => completion([tokensOf(random, 4), [KERNEL], tokensOf(random, 5)]),
}

function goodRequest(random: Random): EngineRequest {
  const settings = random.next() < 0.5 ? {} : { temperature: 0.8, seed: randomInteger(random, 1_000) }
  const kind = random.next()
  if (kind < 0.4) return chat(`Claim ${randomInteger(random, 99)}: gold is a metal.`, settings)
  if (kind < 0.8) return completion(tokensOf(random, 1 + randomInteger(random, 40)), settings)
  return completion([tokensOf(random, 5), tokensOf(random, 9)], settings)
}

test.each([1, 2, 3])('good requests have the answers of a run without bad ones (seed %i)', async (seed) => {
  const random = seededRandom(seed)
  const good = Array.from({ length: 30 }, () => goodRequest(random))
  const clean = engine(false)
  const expected = await Promise.all(good.map((request) => clean.run(request)))
  const planted = engine(true)
  const bad = new Map<string, ReturnType<TextEngine['run']>>()
  const stages = Object.entries(STAGES)
  const answers = good.map((request, index) => {
    const stage = stages[(index + seed) % stages.length]
    if (stage !== undefined) bad.set(`${stage[0]} ${index}`, planted.run(stage[1](random)))
    return planted.run(request)
  })
  for (const [stage, result] of bad) {
    expect(await result, stage).toMatchObject({
      ok: false,
      statusCode: 400,
      error: { code: 'request-invalid' },
    })
  }
  for (const [index, answer] of answers.entries()) {
    expect(expected[index]).toMatchObject({ ok: true })
    expect(await answer).toEqual(expected[index])
  }
})
