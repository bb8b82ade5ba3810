import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { randomInteger, seededRandom } from '../../../src/base/random.ts'
import { PresentGraph } from '../../../src/inference/running/present-graph.ts'
import { DeltaGraph } from '../../../src/inference/running/delta-graph.ts'
import { describeDecoder } from '../../../src/inference/graph/decoder.ts'
import { readModel } from '../../../src/inference/onnx/onnx-reader.ts'
import { FileSource } from '../../../src/inference/onnx/protobuf.ts'
import { KvStore } from '../../../src/inference/running/kv-store.ts'
import { SlotModel } from '../../../src/inference/batching/slot-model.ts'
import type { StepGraph } from '../../../src/inference/running/step-graph.ts'
import type { LlamaAttention } from '../../../src/inference/graph/llama-graph.ts'
import goldens from '../../fixtures/random-llama-goldens.json' with { type: 'json' }
import { continueGreedily, readModelFile, writeSmallModel } from '../../../testing/small-models.ts'

const paths = new Map<string, string>()

beforeAll(() => {
  for (const { name, shape, seed, attention } of goldens) {
    paths.set(name, writeSmallModel({ shape, seed, attention: attention as LlamaAttention }))
  }
})

const GRAPHS = {
  'ort-present': async (path: string) =>
    PresentGraph.open(path, describeDecoder(readModelFile(path), undefined), { threads: 1 }),
  'ort-delta': (path: string) => openDelta(path, false),
  'ort-delta unpacked': (path: string) => openDelta(path, true),
  // As on a card, where the past of decode steps grows on the device.
  'ort-delta, past kept': (path: string) => openDelta(path, false, 1, true),
}

async function openDelta(
  path: string,
  skipsPrepacking: boolean,
  threads = 1,
  keepsPastOnDevice = false,
): Promise<DeltaGraph> {
  using source = new FileSource(path)
  const model = readModel(source)
  return await DeltaGraph.open(
    { path, model, source, decoder: describeDecoder(model, undefined) },
    { threads, skipsPrepacking, keepsPastOnDevice },
  )
}

interface Options {
  slots?: number
  prefillTokensMax?: number
  storeBytesMax?: number
  sharesPrefixes?: boolean
}

function modelOn(graph: StepGraph, options: Options = {}): SlotModel {
  const facts = {
    slots: options.slots ?? 8,
    engine: 'ort-present' as const,
    numericClass: 'test',
    contextLengthMax: 256,
    vocabularySize: graph.vocabularySize,
  }
  return new SlotModel(graph, facts, { prefillTokensMax: 128, storeBytesMax: 1e9, ...options })
}

describe.each(Object.keys(GRAPHS) as (keyof typeof GRAPHS)[])('%s', (engine) => {
  describe.each(goldens)('on a $name model', ({ name, cases }) => {
    let graph: StepGraph
    beforeAll(async () => {
      graph = await GRAPHS[engine](paths.get(name) as string)
    })
    afterAll(() => graph.close())

    const runAll = async (options: Options) => {
      const model = modelOn(graph, options)
      return await Promise.all(
        cases.map(({ promptTokenIds, outputTokenIds }) =>
          continueGreedily(model, promptTokenIds, outputTokenIds.length),
        ),
      )
    }

    test('all together give the tokens that transformers.js gives one by one', async () => {
      const results = await runAll({})
      expect(results.map(({ tokens }) => tokens)).toEqual(cases.map(({ outputTokenIds }) => outputTokenIds))
    })

    test('the logits are bit-equal alone, in any batch, with moves and long prompts in parts', async () => {
      const alone = await runAll({ slots: 1 })
      for (const options of [
        { slots: 2 },
        { slots: 7 },
        { slots: 10, prefillTokensMax: 1_000 },
        { slots: 3, storeBytesMax: 1 },
      ]) {
        expect(await runAll(options)).toEqual(alone)
      }
    })

    test('every step of a sequence is progress, also of a prompt in parts', async () => {
      const model = modelOn(graph, { prefillTokensMax: 4 })
      const take = (token: number): number => token
      const sequence = {
        promptTokens: [1, 2, 3, 4, 5, 6, 7, 8, 9],
        tokensMax: 2,
        isGreedy: true,
        next: () => 1,
      }
      let steps = 0
      let taken = 0
      const count = (token: number): number | undefined => (++taken === 2 ? undefined : take(token))
      await model.run({ ...sequence, take: count }, undefined, () => void (steps += 1))
      // Three parts of the prompt, of which the last chooses a token; the step of the second token ends the sequence.
      expect(steps).toBe(3)
    })

    test('a prompt in parts gives the same tokens', async () => {
      const results = await runAll({ slots: 4, prefillTokensMax: 7 })
      expect(results.map(({ tokens }) => tokens)).toEqual(cases.map(({ outputTokenIds }) => outputTokenIds))
    })

    test('a sequence whose logits nobody wants gets the same tokens, alone and beside others', async () => {
      for (const isGreedyAt of [() => true, (index: number) => index % 2 === 0]) {
        const model = modelOn(graph, { slots: 4 })
        const results = await Promise.all(
          cases.map(({ promptTokenIds }, index) =>
            continueGreedily(model, promptTokenIds, 24, { isGreedy: isGreedyAt(index) }),
          ),
        )
        expect(results.map(({ tokens }) => tokens)).toEqual(cases.map(({ outputTokenIds }) => outputTokenIds))
      }
    })

    test('a cancelled sequence leaves the others as they are', async () => {
      const model = modelOn(graph, { slots: 2 })
      const cancel = new AbortController()
      const [first, second] = cases.slice(-2).map(({ promptTokenIds }) => promptTokenIds) as [
        number[],
        number[],
      ]
      const doomed = expect(continueGreedily(model, first, 150, cancel)).rejects.toThrow('unwanted')
      const kept = continueGreedily(model, second, 24)
      const waiting = continueGreedily(model, first, 24)
      setTimeout(() => cancel.abort(new Error('unwanted')), 5)
      await doomed
      expect((await kept).tokens).toEqual(cases.at(-1)?.outputTokenIds)
      expect((await waiting).tokens).toEqual(cases.at(-2)?.outputTokenIds)
    })
  })
})

describe.each(goldens)('ort-delta on a $name model', ({ name, shape }) => {
  let graph: StepGraph
  beforeAll(async () => {
    graph = await GRAPHS['ort-delta'](paths.get(name) as string)
  })
  afterAll(() => graph.close())

  const random = seededRandom(3)
  const draw = (length: number): number[] =>
    Array.from({ length }, () => randomInteger(random, shape.vocabulary))
  const beginning = draw(37)
  const prompts = [1, 2, 3, 5, 8, 13, 40, 3].map((length) => [...beginning, ...draw(length)])

  const runAll = async (options: Options) => {
    const model = modelOn(graph, options)
    return await Promise.all(prompts.map((prompt) => continueGreedily(model, prompt, 6)))
  }

  test('a beginning that prompts share changes no bit, nor does computing prompts in parts', async () => {
    const plain = await runAll({ sharesPrefixes: false, prefillTokensMax: 1_000 })
    for (const options of [
      { sharesPrefixes: true },
      { sharesPrefixes: true, slots: 2 },
      { sharesPrefixes: true, prefillTokensMax: 16 },
      // Too little room for any prefix; and, an eighth of it, for this one alone.
      { sharesPrefixes: true, storeBytesMax: 8 * 36 * KvStore.tokenBytes(graph.kvShape) },
      { sharesPrefixes: true, storeBytesMax: 8 * 37 * KvStore.tokenBytes(graph.kvShape) },
      { sharesPrefixes: false, prefillTokensMax: 7 },
    ]) {
      expect(await runAll(options)).toEqual(plain)
    }
  })
})

describe.each([
  ['grouped-query', 'int8'],
  ['plain', 'int8'],
  ['grouped-query', 'blocks'],
  ['plain', 'blocks'],
  ['grouped-query', 'fp16'],
] as const)('ort-delta on a %s model of %s weights', (attention, weights) => {
  const golden = goldens.find((one) => one.attention === attention)
  if (golden === undefined) throw new Error(`no golden of ${attention}`)
  let graph: StepGraph
  beforeAll(async () => {
    const { shape, seed } = golden
    graph = await openDelta(writeSmallModel({ shape, seed, attention, weights, externalData: true }), false)
  })
  afterAll(() => graph.close())

  test('the logits are bit-equal alone and in any batch, and close to those of fp32', async () => {
    const prompts = golden.cases.map(({ promptTokenIds }) => promptTokenIds)
    const runAll = async (slots: number, prefillTokensMax: number) => {
      const model = modelOn(graph, { slots, prefillTokensMax })
      return await Promise.all(prompts.map((prompt) => continueGreedily(model, prompt, 6)))
    }
    const alone = await runAll(1, 1_000)
    for (const slots of [2, 8]) expect(await runAll(slots, 64)).toEqual(alone)
    const same = alone.filter(({ tokens }, index) => tokens[0] === golden.cases[index]?.outputTokenIds[0])
    expect(same.length).toBeGreaterThan(alone.length / 2)
  })
})

test('two threads give the bits of one', async () => {
  // Wide enough that onnxruntime does divide its products.
  const shape = {
    ...(goldens[0] as (typeof goldens)[number]).shape,
    layers: 1,
    hidden: 448,
    intermediate: 1_216,
  }
  const path = writeSmallModel({ shape, seed: 1, attention: 'grouped-query' })
  const prompts = [1, 5, 17, 64].map((length) =>
    Array.from({ length }, (_, index) => (index * 37 + length) % 256),
  )
  const results = []
  for (const threads of [1, 2]) {
    const graph = await openDelta(path, false, threads)
    const model = modelOn(graph)
    results.push(await Promise.all(prompts.map((prompt) => continueGreedily(model, prompt, 6))))
    await graph.close()
  }
  expect(results[1]).toEqual(results[0])
})

test('a request whose values are no numbers is refused, and its batch mates and who has its slot next are not harmed', async () => {
  const [golden] = goldens
  if (golden === undefined) throw new Error('no goldens')
  const graph = await openDelta(paths.get(golden.name) as string, false)
  const poison = 7
  /** As an overflow in fp16 does: the token's keys and values are NaN in every layer. */
  const poisoned: StepGraph = {
    kvShape: graph.kvShape,
    vocabularySize: graph.vocabularySize,
    sharesPrefixes: true,
    close: () => graph.close(),
    run: async (input) => {
      const output = await graph.run(input)
      const { keyValueHeads, headSize } = graph.kvShape
      const keyValues: typeof output.keyValues = (layer, part) => {
        const { data, tokens } = output.keyValues(layer, part)
        const size = keyValueHeads * tokens * headSize
        for (const [row, ids] of input.rows.entries()) {
          if (ids.includes(poison)) data.fill(Number.NaN, row * size, (row + 1) * size)
        }
        return { data, tokens }
      }
      return { ...output, keyValues }
    },
  }
  const [bad, good] = [
    [1, 2, poison, 4, 5, 6],
    [1, 2, 3, 4],
  ]
  const clean = await continueGreedily(modelOn(graph), good, 4)
  expect(clean.tokens).not.toContain(poison)
  const pair = modelOn(poisoned, { slots: 2 })
  const [refused, mate] = await Promise.allSettled([
    continueGreedily(pair, bad, 4),
    continueGreedily(pair, good, 4),
  ])
  expect(refused).toMatchObject({ status: 'rejected', reason: { code: 'request-invalid' } })
  expect(mate).toEqual({ status: 'fulfilled', value: clean })
  const alone = modelOn(poisoned, { slots: 1 })
  await expect(continueGreedily(alone, bad, 4)).rejects.toThrow('computes NaN')
  expect(await continueGreedily(alone, good, 4)).toEqual(clean)
  await graph.close()
})

describe('requests that throw among good ones', () => {
  const [golden] = goldens
  if (golden === undefined) throw new Error('no goldens')
  const { vocabulary } = golden.shape
  const poison = 7
  let graph: StepGraph
  beforeAll(async () => {
    graph = await openDelta(paths.get(golden.name) as string, false)
  })
  afterAll(() => graph.close())

  /** The kernels throw for every step that has the token. */
  const throwing = (token: number): StepGraph => ({
    kvShape: graph.kvShape,
    vocabularySize: graph.vocabularySize,
    sharesPrefixes: true,
    close: async () => {},
    run: async (input) => {
      if (input.rows.some((row) => row.includes(token))) throw new Error('indices element out of data bounds')
      return await graph.run(input)
    },
  })

  const continueThrowing = async (model: SlotModel, promptTokens: readonly number[], at: number) => {
    let steps = 0
    const next = (): number => {
      steps += 1
      if (steps === at) throw new TypeError('planted in sampling')
      return 1
    }
    return await model.run(
      { promptTokens, tokensMax: 9, isGreedy: at % 2 === 0, take: next, next },
      undefined,
    )
  }

  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'all good ones have the answers of a clean run (seed %i)',
    async (seed) => {
      const random = seededRandom(seed)
      const draw = (): number => {
        const token = randomInteger(random, vocabulary)
        return token === poison ? poison + 1 : token
      }
      const shared = Array.from({ length: 20 }, draw)
      const prompts = Array.from({ length: 24 }, () => {
        const own = Array.from({ length: 1 + randomInteger(random, 40) }, draw)
        return random.next() < 0.4 ? [...shared, ...own] : own
      })
      const clean = modelOn(graph, { slots: 6, prefillTokensMax: 32 })
      const expected = await Promise.all(prompts.map((prompt) => continueGreedily(clean, prompt, 5)))
      const model = modelOn(throwing(poison), { slots: 6, prefillTokensMax: 32 })
      const bad: Promise<unknown>[] = []
      const good = prompts.map((prompt, index) => {
        const place = randomInteger(random, prompt.length + 1)
        const poisoned = [...prompt.slice(0, place), poison, ...prompt.slice(place)]
        if (index % 4 === 0) bad.push(continueGreedily(model, poisoned, 5))
        if (index % 4 === 1) bad.push(continueThrowing(model, prompt, 1 + randomInteger(random, 4)))
        return continueGreedily(model, prompt, 5)
      })
      const [failures, answers] = await Promise.all([Promise.allSettled(bad), Promise.allSettled(good)])
      for (const failure of failures) {
        expect(failure).toMatchObject({ status: 'rejected', reason: { code: 'request-invalid' } })
      }
      for (const [index, answer] of answers.entries()) {
        // A good prompt whose own answer has the token is as bad as one that begins with it.
        const isOwn = expected[index]?.tokens.slice(0, -1).includes(poison) === true
        if (!isOwn) expect(answer).toEqual({ status: 'fulfilled', value: expected[index] })
        else expect(answer).toMatchObject({ reason: { code: 'request-invalid' } })
      }
    },
  )

  test('an engine that computes nothing fails, and blames no request', async () => {
    const model = modelOn(throwing(0))
    const runs = [[0, 1], [2, 0], [0]].map((prompt) => continueGreedily(model, prompt, 3))
    for (const run of await Promise.allSettled(runs)) {
      expect(run).toMatchObject({ status: 'rejected', reason: { code: 'engine-failed' } })
    }
  })
})
