import '../../../src/inference/device/no-telemetry.ts'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { beforeEach, expect, test } from 'vitest'
import {
  encodeModel,
  GraphBuilder,
  writeModel,
  type OnnxGraph,
} from '../../../src/inference/onnx/onnx-writer.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const ROWS = 40
const COLUMNS = 30

/** y = (x · weight) ∗ 2, then its first columns: nodes, both kinds of constants, and every kind of attribute. */
function exampleGraph(): OnnxGraph {
  const builder = new GraphBuilder('example')
  const x = builder.input('x', 'float', ['batch', ROWS])
  const elements = Float32Array.from({ length: ROWS * COLUMNS }, (_, index) => Math.sin(index))
  const weight = builder.tensor('weight', 'float', [ROWS, COLUMNS], () => elements)
  const product = builder.node('MatMul', [x, weight])
  const leaky = builder.node('LeakyRelu', [product], { attributes: { alpha: { float: 0.25 } } })
  const doubled = builder.node('Mul', [leaky, builder.float(2)])
  const turned = builder.node('Transpose', [doubled], { attributes: { perm: [1, 0] } })
  const lastRow = builder.node('Gather', [turned, builder.integers([-1])], { attributes: { axis: 0 } })
  builder.namedNode('Cast', [lastRow], ['y'], { attributes: { to: 1 } })
  builder.output('y', 'float', [1, 'batch'])
  return builder.graph
}

function expectedLast(x: Float32Array): number {
  const column = COLUMNS - 1
  const product = x.reduce(
    (sum, value, row) => sum + value * Math.fround(Math.sin(row * COLUMNS + column)),
    0,
  )
  return 2 * (product < 0 ? 0.25 * product : product)
}

async function runExample(model: string | Uint8Array): Promise<number> {
  const session = await (typeof model === 'string'
    ? InferenceSession.create(model)
    : InferenceSession.create(model))
  const x = Float32Array.from({ length: ROWS }, (_, index) => Math.cos(index))
  const { y } = await session.run({ x: new Tensor('float32', x, [1, ROWS]) })
  await session.release()
  expect(y?.dims).toEqual([1, 1])
  return Number(y?.data[0])
}

const EXPECTED = expectedLast(Float32Array.from({ length: ROWS }, (_, index) => Math.cos(index)))

let folder = ''
beforeEach(() => {
  folder = temporaryFolder('onnx-writer')
})

test('ONNX Runtime reads an encoded model and computes what its nodes say', async () => {
  expect(await runExample(encodeModel(exampleGraph()))).toBeCloseTo(EXPECTED, 4)
})

test('a written file has the bytes of the encoded model', () => {
  const path = join(folder, 'model.onnx')
  writeModel(exampleGraph(), path)
  expect(readFileSync(path).equals(encodeModel(exampleGraph()))).toBe(true)
})

test('large tensors go to a file of their own, and the model still runs', async () => {
  const path = join(folder, 'model.onnx')
  writeModel(exampleGraph(), path, { externalData: true })
  expect(readFileSync(`${path}_data`).byteLength).toBe(ROWS * COLUMNS * 4)
  expect(readFileSync(path).byteLength).toBeLessThan(ROWS * COLUMNS * 4)
  expect(await runExample(path)).toBeCloseTo(EXPECTED, 4)
})

test('external tensors begin at pages', () => {
  const builder = new GraphBuilder('two tensors')
  builder.tensor('first', 'float', [300], () => new Float32Array(300).fill(1))
  builder.tensor('second', 'float', [300], () => new Float32Array(300).fill(2))
  const path = join(folder, 'model.onnx')
  writeModel(builder.graph, path, { externalData: true })
  const data = readFileSync(`${path}_data`)
  expect(data.byteLength).toBe(4_096 + 1_200)
  expect(data.readFloatLE(4_096)).toBe(2)
})

test('a tensor with another number of elements than announced is refused', () => {
  const builder = new GraphBuilder('wrong')
  builder.tensor('short', 'float', [4], () => new Float32Array(3))
  expect(() => encodeModel(builder.graph)).toThrow(RangeError)
})

test('a fraction is refused where a whole number belongs', () => {
  const builder = new GraphBuilder('wrong')
  builder.namedNode('Softmax', ['x'], ['y'], { attributes: { axis: 0.5 } })
  expect(() => encodeModel(builder.graph)).toThrow(RangeError)
})
