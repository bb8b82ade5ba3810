import { expect, test } from 'vitest'
import { describeDecoder } from '../../../src/inference/graph/decoder.ts'
import { rewriteToDelta } from '../../../src/inference/graph/delta-rewrite.ts'
import { buildLlamaGraph } from '../../../src/inference/graph/llama-graph.ts'
import { randomWeights } from '../../../src/inference/graph/llama-weights.ts'
import { readModel } from '../../../src/inference/onnx/onnx-reader.ts'
import { encodeModel, type GraphNode, type OnnxGraph } from '../../../src/inference/onnx/onnx-writer.ts'
import { bytesSource } from '../../../src/inference/onnx/protobuf.ts'

const SHAPE = {
  layers: 3,
  hidden: 32,
  intermediate: 48,
  heads: 4,
  keyValueHeads: 2,
  headSize: 8,
  vocabulary: 64,
  positionsMax: 64,
  ropeTheta: 10_000,
  normEpsilon: 1e-5,
}

/** How often each operator is in the delta form, outside its branches. */
function operatorsOf(graph: OnnxGraph): Map<string, number> {
  const source = bytesSource(encodeModel(graph))
  const model = readModel(source)
  const { bytes } = rewriteToDelta(model, describeDecoder(model, undefined), source, 'model.onnx')
  const counts = new Map<string, number>()
  for (const { operator } of readModel(bytesSource(bytes)).nodes) {
    counts.set(operator, (counts.get(operator) ?? 0) + 1)
  }
  return counts
}

test('plain attention decodes without joining the past and the new keys', () => {
  const operators = operatorsOf(buildLlamaGraph(SHAPE, randomWeights(1), 'plain'))
  expect(operators.get('If')).toBe(SHAPE.layers)
  expect(operators.has('Softmax')).toBe(false)
})

test('a layer whose attention has operators that we do not know stays as it is', () => {
  const graph = buildLlamaGraph(SHAPE, randomWeights(1), 'plain')
  const nodes = (graph.nodes as GraphNode[]).flatMap((node): GraphNode[] => {
    if (!(node.operator === 'Transpose' && node.inputs[0] === 'present.1.key')) return [node]
    const identity = { ...node, operator: 'Identity', outputs: ['same_keys'], attributes: {} }
    return [identity, { ...node, inputs: ['same_keys'] }]
  })
  const operators = operatorsOf({ ...graph, nodes })
  expect(operators.get('If')).toBe(SHAPE.layers - 1)
  expect(operators.get('Softmax')).toBe(1)
})
