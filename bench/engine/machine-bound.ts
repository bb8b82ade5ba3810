// The bounds of this machine: the matrix products of a model alone, and memory reads alone.
import '../../src/inference/device/no-telemetry.ts'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { randomWeights, type LlamaShape } from '../../src/inference/graph/llama-weights.ts'
import { encodeModel, GraphBuilder } from '../../src/inference/onnx/onnx-writer.ts'
import { THREADS } from './models.ts'

/** Larger than caches. */
const READ_BYTES = 256 * 1024 * 1024
const TRIES = 5

export interface MachineBound {
  /** fp32 multiplications and additions per second, in products of the model's shapes. */
  flops: number
  /** Bytes read per second. */
  bandwidth: number
}

export async function measureBound(
  { hidden, intermediate }: LlamaShape,
  rows: number,
  threads: number = THREADS,
): Promise<MachineBound> {
  return {
    flops: await productRate(rows, hidden, intermediate, threads),
    bandwidth: await readRate(threads),
  }
}

/**
 * Tokens per second that decoding could reach: every weight multiplied or read once, and every
 * key and value of `length` tokens read once.
 */
export function boundRate(
  shape: LlamaShape,
  { flops, bandwidth }: MachineBound,
  rows: number,
  length: number,
): number {
  const { layers, keyValueHeads, headSize } = shape
  const weights = weightsOf(shape)
  const cacheBytes = rows * length * layers * 2 * keyValueHeads * headSize * 4
  const seconds = Math.max((2 * weights * rows) / flops, (4 * weights) / bandwidth) + cacheBytes / bandwidth
  return rows / seconds
}

/** Weights of all matrix products; looking up an embedding is none. */
export function weightsOf({
  layers,
  hidden,
  intermediate,
  heads,
  keyValueHeads,
  headSize,
  vocabulary,
}: LlamaShape): number {
  const attention = hidden * headSize * (2 * heads + 2 * keyValueHeads)
  return layers * (attention + 3 * hidden * intermediate) + hidden * vocabulary
}

/** A constant right side, as weights are, so that onnxruntime prepares it. */
async function productRate(rows: number, inputs: number, outputs: number, threads: number): Promise<number> {
  const builder = new GraphBuilder('product')
  builder.input('states', 'float', [rows, inputs])
  const dims = [inputs, outputs]
  const weight = builder.tensor('weight', 'float', dims, () => randomWeights(1)('weight', dims))
  builder.output(builder.node('MatMul', ['states', weight]), 'float')
  const states = new Tensor('float32', new Float32Array(rows * inputs).fill(0.5), [rows, inputs])
  const times = Math.max(1, Math.round(2e9 / (2 * rows * inputs * outputs)))
  const seconds = await bestSeconds(builder, { states }, { times, threads })
  return (2 * rows * inputs * outputs * times) / seconds
}

/** One row times a large matrix that is no constant: it is read once, and little else is done. */
async function readRate(threads: number): Promise<number> {
  const inputs = 1_024
  const outputs = READ_BYTES / 4 / inputs
  const builder = new GraphBuilder('read')
  builder.input('states', 'float', [1, inputs])
  builder.input('matrix', 'float', [inputs, outputs])
  builder.output(builder.node('MatMul', ['states', 'matrix']), 'float')
  const states = new Tensor('float32', new Float32Array(inputs).fill(0.5), [1, inputs])
  const matrix = new Tensor('float32', new Float32Array(READ_BYTES / 4).fill(0.5), [inputs, outputs])
  return READ_BYTES / (await bestSeconds(builder, { states, matrix }, { times: 1, threads }))
}

async function bestSeconds(
  { graph }: GraphBuilder,
  feeds: Record<string, Tensor>,
  { times, threads }: { times: number; threads: number },
): Promise<number> {
  const options = { intraOpNumThreads: threads, logSeverityLevel: 3 } as const
  const session = await InferenceSession.create(encodeModel(graph), options)
  let best = Infinity
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const beganMs = performance.now()
    for (let time = 0; time < times; time += 1) await session.run(feeds)
    best = Math.min(best, (performance.now() - beganMs) / 1_000)
  }
  await session.release()
  return best
}
