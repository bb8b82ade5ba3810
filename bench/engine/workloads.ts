// Measures the overhead of the engine over its steps: uneven work, repeated work, our own code.
import '../../src/inference/device/no-telemetry.ts'
import { randomBetween, seededRandom } from '../../src/base/random.ts'
import { InferenceSession } from 'onnxruntime-node'
import { openDelta } from './models.ts'
import { atLeast, type Row } from './rows.ts'
import { draw, modelOn, runAll, secondsOf, uniform, type Request } from './sequences.ts'

const SLOTS = 32

export const MIXED_LENGTHS: Row = {
  wanted: [atLeast('mixed lengths over uniform ones, 1,000 requests, 3 M', 0.8)],
  async open({ models, options }) {
    const { path, shape } = models.get('3 M')
    const graph = await openDelta(path)
    const mixed = mixedRequests(options.quick ? 20 : 1_000, shape.vocabulary)
    const even = uniformLike(mixed, shape.vocabulary)
    const rateOf = async (requests: Request[]): Promise<number> =>
      sumOf(requests.map(tokensOf)) / (await secondsOf(() => runAll(modelOn(graph, SLOTS, false), requests)))
    return {
      measure: async () => [(await rateOf(mixed)) / (await rateOf(even))],
      close: () => graph.close(),
    }
  },
}

/** Prompts of 8 to 256 tokens, answers of 1 to 64. */
function mixedRequests(count: number, vocabulary: number): Request[] {
  const random = seededRandom(2)
  return Array.from({ length: count }, () => ({
    promptTokens: draw(Math.round(randomBetween(random, 8, 256)), vocabulary),
    tokensMax: Math.round(randomBetween(random, 1, 64)),
  }))
}

function uniformLike(mixed: readonly Request[], vocabulary: number): Request[] {
  const mean = (sizes: number[]): number => Math.round(sumOf(sizes) / sizes.length)
  const promptTokens = mean(mixed.map((request) => request.promptTokens.length))
  const tokensMax = mean(mixed.map((request) => request.tokensMax))
  return uniform(mixed.length, promptTokens, tokensMax, vocabulary)
}

const tokensOf = ({ promptTokens, tokensMax }: Request): number => promptTokens.length + tokensMax
const sumOf = (values: number[]): number => values.reduce((sum, value) => sum + value, 0)

export const SHARED_PREFIX: Row = {
  wanted: [atLeast('a shared prefix of 200 tokens over none, bodies of 10, 31 M', 3)],
  async open({ models, options }) {
    const { path, shape } = models.get('31 M')
    const graph = await openDelta(path)
    const prefix = draw(200, shape.vocabulary)
    const requests = Array.from({ length: options.quick ? 8 : 64 }, () => ({
      promptTokens: [...prefix, ...draw(10, shape.vocabulary)],
      tokensMax: 1,
    }))
    const seconds = (shares: boolean): Promise<number> =>
      secondsOf(() => runAll(modelOn(graph, SLOTS, shares), requests))
    return {
      measure: async () => [(await seconds(false)) / (await seconds(true))],
      close: () => graph.close(),
    }
  },
}

export const SCRIPT_SHARE: Row = {
  wanted: [
    {
      name: 'share of decoding in our JavaScript, 32 sequences, 31 M',
      unit: '',
      better: 'lower',
      bound: 0.05,
    },
  ],
  async open({ models, options }) {
    const { path, shape } = models.get('31 M')
    const graph = await openDelta(path)
    const requests = uniform(SLOTS, 8, options.quick ? 16 : 64, shape.vocabulary)
    const model = modelOn(graph, SLOTS, false)
    const run = (): Promise<void> => runAll(model, requests)
    // Buffers that grow do so once.
    await run()
    return {
      async measure() {
        let seconds = 0
        const nativeSeconds = await nativeSecondsOf(async () => {
          seconds = await secondsOf(run)
        })
        return [1 - nativeSeconds / seconds]
      },
      close: () => graph.close(),
    }
  },
}

type Run = (this: InferenceSession, ...args: unknown[]) => Promise<InferenceSession.ReturnType>

/** Time inside onnxruntime of everything that runs while `work` does. */
async function nativeSecondsOf(work: () => Promise<unknown>): Promise<number> {
  const { prototype } = InferenceSession as unknown as { prototype: { run: Run } }
  const { run } = prototype
  let ms = 0
  prototype.run = async function timed(this: InferenceSession, ...args) {
    const beganMs = performance.now()
    const outputs = await run.apply(this, args)
    ms += performance.now() - beganMs
    return outputs
  }
  try {
    await work()
  } finally {
    prototype.run = run
  }
  return ms / 1_000
}
