// How fast is the engine? Every figure is a ratio of two measurements of one run, on the same cores.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { randomBetween, randomInteger, seededRandom } from '../src/base/random.ts'
import { defaultThreads } from '../src/inference/engine-host.ts'
import { DeltaGraph } from '../src/inference/delta-graph.ts'
import { describeDecoder } from '../src/inference/onnx/decoder.ts'
import { buildLlamaGraph } from '../src/inference/onnx/llama-graph.ts'
import { randomWeights, type LlamaShape } from '../src/inference/onnx/llama-weights.ts'
import { readModel } from '../src/inference/onnx/onnx-reader.ts'
import { writeModel } from '../src/inference/onnx/onnx-writer.ts'
import { FileSource } from '../src/inference/onnx/protobuf.ts'
import { greatest } from '../src/inference/sampling.ts'
import { SlotModel } from '../src/inference/slot-model.ts'
import type { Bench, BenchOptions } from './bench.ts'
import { metricOf, type Metric } from './harness.ts'

let flags: BenchOptions
const THREADS = defaultThreads()
const PROMPT_TOKENS = 64

const COMMON = { headSize: 64, positionsMax: 2_048, ropeTheta: 10_000, normEpsilon: 1e-5 }
const SMALL: LlamaShape = {
  ...COMMON,
  layers: 2,
  hidden: 128,
  intermediate: 256,
  heads: 2,
  keyValueHeads: 2,
  vocabulary: 512,
}
const M31: LlamaShape = {
  ...COMMON,
  layers: 10,
  hidden: 448,
  intermediate: 1_216,
  heads: 7,
  keyValueHeads: 7,
  vocabulary: 8_192,
}
/** SmolLM2-135M's shape with an untied head: 163 M parameters, 652 MB. */
const M163: LlamaShape = {
  ...COMMON,
  layers: 30,
  hidden: 576,
  intermediate: 1_536,
  heads: 9,
  keyValueHeads: 3,
  vocabulary: 49_152,
}

interface Request {
  promptTokens: number[]
  tokensMax: number
}

const random = seededRandom(1)
const draw = (length: number, { vocabulary }: LlamaShape): number[] =>
  Array.from({ length }, () => randomInteger(random, vocabulary))
const uniform = (count: number, promptTokens: number, tokensMax: number, shape: LlamaShape): Request[] =>
  Array.from({ length: count }, () => ({ promptTokens: draw(promptTokens, shape), tokensMax }))

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const beganMs = performance.now()
  await work()
  return (performance.now() - beganMs) / 1_000
}

async function openDelta(path: string, skipsPrepacking = false): Promise<DeltaGraph> {
  using source = new FileSource(path)
  const model = readModel(source)
  const decoder = describeDecoder(model, undefined)
  return await DeltaGraph.open({ path, model, source, decoder }, { threads: THREADS, skipsPrepacking })
}

function modelOn(graph: DeltaGraph, slots: number, sharesPrefixes = true): SlotModel {
  const { vocabularySize } = graph
  const facts = {
    slots,
    engine: 'ort-delta',
    numericClass: '',
    contextLengthMax: 2_048,
    vocabularySize,
  } as const
  return new SlotModel(graph, facts, { prefillTokensMax: 512, storeBytesMax: 8e9, sharesPrefixes })
}

async function runAll(model: SlotModel, requests: readonly Request[]): Promise<void> {
  await Promise.all(
    requests.map(({ promptTokens, tokensMax }) => {
      let left = tokensMax
      const take = (token: number): number | undefined => (--left > 0 ? token : undefined)
      const next = (logits: Float32Array): number | undefined => take(greatest(logits))
      return model.run({ promptTokens, tokensMax, isGreedy: true, take, next }, undefined)
    }),
  )
}

/** Decoding alone, tokens/s: the time of `longTokens` tokens less that of 8. */
async function decodeRate(
  graph: DeltaGraph,
  slots: number,
  longTokens: number,
  shape: LlamaShape,
): Promise<number> {
  const timeOf = (tokens: number): Promise<number> =>
    secondsOf(() => runAll(modelOn(graph, slots), uniform(slots, PROMPT_TOKENS, tokens, shape)))
  const [short, long] = [await timeOf(8), await timeOf(longTokens)]
  return (slots * (longTokens - 8)) / (long - short)
}

/** The usual loop on a stock export: the whole cache out of onnxruntime, and in again, at every token. */
async function presentRate(path: string, rows: number, tokens: number, shape: LlamaShape): Promise<number> {
  const session = await InferenceSession.create(path, { intraOpNumThreads: THREADS, logSeverityLevel: 3 })
  const { layers, keyValueHeads, headSize, vocabulary } = shape
  const integers = (values: BigInt64Array): Tensor =>
    new Tensor('int64', values, [rows, values.length / rows])
  const none = new Tensor('float32', new Float32Array(0), [rows, keyValueHeads, 0, headSize])
  const names = Array.from({ length: layers }, (_, layer) => [`${layer}.key`, `${layer}.value`]).flat()
  let past: Record<string, Tensor> = Object.fromEntries(
    names.map((name) => [`past_key_values.${name}`, none]),
  )
  let ids = BigInt64Array.from(draw(rows * PROMPT_TOKENS, shape), BigInt)
  let beganMs = 0
  for (let step = 0; step <= tokens; step += 1) {
    if (step === 1) beganMs = performance.now()
    const mask = new BigInt64Array(rows * (PROMPT_TOKENS + step)).fill(1n)
    const outputs = await session.run({ ...past, input_ids: integers(ids), attention_mask: integers(mask) })
    const logits = outputs['logits']?.data as Float32Array
    const width = logits.length / rows / vocabulary
    const last = (row: number): Float32Array =>
      logits.subarray(((row + 1) * width - 1) * vocabulary, (row + 1) * width * vocabulary)
    ids = BigInt64Array.from({ length: rows }, (_, row) => BigInt(greatest(last(row))))
    past = Object.fromEntries(
      names.map((name) => [`past_key_values.${name}`, outputs[`present.${name}`] as Tensor]),
    )
  }
  const seconds = (performance.now() - beganMs) / 1_000
  await session.release()
  return (rows * tokens) / seconds
}

type Run = (this: InferenceSession, ...args: unknown[]) => Promise<InferenceSession.ReturnType>

/** Time inside onnxruntime, ms, of everything that runs while `work` does. */
async function nativeMsOf(work: () => Promise<unknown>): Promise<number> {
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
  return ms
}

async function repeat(
  wanted: Parameters<typeof metricOf>[0],
  measure: () => Promise<number>,
): Promise<Metric> {
  const values: number[] = []
  for (let run = 0; run < flags.runs; run += 1) values.push(await measure())
  return metricOf(wanted, values)
}

const ratio = (name: string, bound: number): Parameters<typeof metricOf>[0] => ({
  name,
  unit: '×',
  better: 'higher',
  bound,
})

async function mixedRatio(graph: DeltaGraph, shape: LlamaShape): Promise<number> {
  const count = flags.quick ? 20 : 1_000
  const mixed = Array.from({ length: count }, () => ({
    promptTokens: draw(Math.round(randomBetween(random, 8, 256)), shape),
    tokensMax: Math.round(randomBetween(random, 1, 64)),
  }))
  const mean = (sizes: number[]): number => Math.round(sizes.reduce((sum, size) => sum + size, 0) / count)
  const even = uniform(
    count,
    mean(mixed.map(({ promptTokens }) => promptTokens.length)),
    mean(mixed.map(({ tokensMax }) => tokensMax)),
    shape,
  )
  const mixedSeconds = await secondsOf(() => runAll(modelOn(graph, 32), mixed))
  return (await secondsOf(() => runAll(modelOn(graph, 32), even))) / mixedSeconds
}

async function prefixRatio(graph: DeltaGraph, shape: LlamaShape): Promise<number> {
  const prefix = draw(200, shape)
  const requests = Array.from({ length: flags.quick ? 8 : 128 }, () => ({
    promptTokens: [...prefix, ...draw(10, shape)],
    tokensMax: 1,
  }))
  const apart = await secondsOf(() => runAll(modelOn(graph, 32, false), requests))
  return apart / (await secondsOf(() => runAll(modelOn(graph, 32, true), requests)))
}

/** Share of decoding's time that is not onnxruntime's. */
async function scriptShare(graph: DeltaGraph, shape: LlamaShape): Promise<number> {
  let seconds = 0
  const nativeMs = await nativeMsOf(async () => {
    seconds = await secondsOf(() => runAll(modelOn(graph, 32), uniform(32, 8, flags.quick ? 16 : 64, shape)))
  })
  return 1 - nativeMs / 1_000 / seconds
}

/** From the files to the first token, ms. */
const firstTokenMs = async (path: string, shape: LlamaShape): Promise<number> => {
  let graph: DeltaGraph | undefined
  const seconds = await secondsOf(async () => {
    graph = await openDelta(path, true)
    await runAll(modelOn(graph, 1), uniform(1, PROMPT_TOKENS, 1, shape))
  })
  await graph?.close()
  return seconds * 1_000
}

async function stockCreateMs(path: string): Promise<number> {
  let session: InferenceSession | undefined
  const seconds = await secondsOf(async () => {
    session = await InferenceSession.create(path, { intraOpNumThreads: THREADS, logSeverityLevel: 3 })
  })
  await session?.release()
  return seconds * 1_000
}

function writeShape(folder: string, name: string, shape: LlamaShape): string {
  const path = join(folder, `${name}.onnx`)
  writeModel(buildLlamaGraph(shape, randomWeights(1), 'grouped-query'), path, { externalData: true })
  return path
}

async function measureMiddle(folder: string): Promise<Metric[]> {
  const shape = flags.quick ? SMALL : M31
  const path = writeShape(folder, 'middle', shape)
  const graph = await openDelta(path)
  const many = flags.quick ? 8 : 128
  const tokens = flags.quick ? 16 : 40
  const metrics = [
    await repeat(ratio(`${many} sequences over the present-KV loop, 31 M`, 2.5), async () => {
      const ours = await decodeRate(graph, many, tokens, shape)
      return ours / (await presentRate(path, many, tokens, shape))
    }),
    await repeat(ratio(`${many} sequences over one, 31 M`, 8), async () => {
      const together = await decodeRate(graph, many, tokens, shape)
      return together / (await decodeRate(graph, 1, tokens, shape))
    }),
    await repeat(ratio('mixed lengths over uniform ones, 31 M', 0.8), () => mixedRatio(graph, shape)),
    await repeat(ratio('a shared prefix of 200 over none, bodies of 10, 31 M', 3), () =>
      prefixRatio(graph, shape),
    ),
    await repeat(
      {
        name: 'share of decoding in our JavaScript, 32 sequences, 31 M',
        unit: '',
        better: 'lower',
        bound: 0.05,
      },
      () => scriptShare(graph, shape),
    ),
  ]
  await graph.close()
  return metrics
}

async function measureLarge(folder: string): Promise<Metric[]> {
  const shape = flags.quick ? SMALL : M163
  const path = writeShape(folder, 'large', shape)
  const many = flags.quick ? 8 : 128
  const first = await repeat(
    { name: 'context of 650 MB to its first token', unit: 'ms', better: 'lower', bound: 150 },
    () => firstTokenMs(path, shape),
  )
  const stock = await repeat(ratio('stock session creation over the first token, 650 MB', 5), async () => {
    const stockMs = await stockCreateMs(path)
    return stockMs / (await firstTokenMs(path, shape))
  })
  const graph = await openDelta(path)
  const batch = await repeat(ratio(`${many} sequences over one, 163 M`, 12), async () => {
    const together = await decodeRate(graph, many, 24, shape)
    return together / (await decodeRate(graph, 1, 24, shape))
  })
  await graph.close()
  return [first, stock, batch]
}

const bench: Bench = {
  question: 'How fast is the inference engine?',
  async run(options) {
    flags = options
    const folder = mkdtempSync(join(tmpdir(), 'hearth-bench-'))
    try {
      return [...(await measureMiddle(folder)), ...(await measureLarge(folder))]
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
}
export default bench
