// The throw-away process of a probe: runs a small model on the execution provider named by its argument,
// and says how long that took, or why it could not.
import './no-telemetry.ts'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { messageOf } from '../../base/errors.ts'
import { seededRandom } from '../../base/random.ts'
import { systemClock } from '../../base/system-clock.ts'
import type { ProbeAnswer } from './device-probe.ts'
import { encodeModel, GraphBuilder } from '../onnx/onnx-writer.ts'

/** Rows and columns of the matrices that are multiplied. */
const SIZE = 256
/** Relative: providers may compute in lower precision. */
const DIFFERENCE_MAX = 1e-2

function matrix(seed: number): Float32Array {
  const random = seededRandom(seed)
  return Float32Array.from({ length: SIZE * SIZE }, () => random.next())
}

function productModel(): Uint8Array {
  const builder = new GraphBuilder('probe')
  builder.input('left', 'float', [SIZE, SIZE])
  builder.output('product', 'float', [SIZE, SIZE])
  const right = builder.tensor('right', 'float', [SIZE, SIZE], () => matrix(2))
  builder.namedNode('MatMul', ['left', right], ['product'])
  return encodeModel(builder.graph)
}

async function multiply(provider: string): Promise<ProbeAnswer> {
  const options = { executionProviders: [provider], logSeverityLevel: 4 } as const
  const session = await InferenceSession.create(productModel(), options)
  const feeds = { left: new Tensor('float32', matrix(1), [SIZE, SIZE]) }
  // The first run prepares; the second is timed.
  await session.run(feeds)
  const beganMs = systemClock.nowMs()
  const { product } = await session.run(feeds)
  const ms = systemClock.nowMs() - beganMs
  return isRight(product?.data as Float32Array) ? { ms } : { why: 'its results are wrong' }
}

/** Compares one row with the product computed here. */
function isRight(product: Float32Array): boolean {
  const [left, right] = [matrix(1), matrix(2)]
  for (let column = 0; column < SIZE; column += 1) {
    let sum = 0
    for (let index = 0; index < SIZE; index += 1) {
      sum += (left[index] as number) * (right[index * SIZE + column] as number)
    }
    if (!(Math.abs((product[column] ?? Number.NaN) - sum) <= DIFFERENCE_MAX * sum)) return false
  }
  return true
}

const [, , provider = 'cpu'] = process.argv
const answer = await multiply(provider).catch((error: unknown): ProbeAnswer => ({ why: messageOf(error) }))
process.send?.(answer)
process.once('disconnect', () => process.exit())
