// Turns the linear layers of an fp32 graph into what quantize_dynamic of onnxruntime's Python tools makes:
// 8-bit weights with a scale, and activations quantized while it runs.
import type { GraphNode, Initializer, OnnxGraph } from '../../src/inference/onnx/onnx-writer.ts'
import { GraphBuilder } from '../../src/inference/onnx/onnx-writer.ts'

const isTensor = (initializer: OnnxGraph['initializers'][number]): initializer is Initializer =>
  'data' in initializer

export function quantizeGraph(graph: OnnxGraph): OnnxGraph {
  const weights = new Map(graph.initializers.filter(isTensor).map((tensor) => [tensor.name, tensor]))
  const nodes: OnnxGraph['nodes'] = []
  const builder = new GraphBuilder('quantized', 'quantized_')
  const replaced = new Set<string>()
  for (const node of graph.nodes as GraphNode[]) {
    const weight = node.operator === 'MatMul' ? weights.get(node.inputs[1] ?? '') : undefined
    if (weight === undefined) {
      nodes.push(node)
      continue
    }
    const before = builder.graph.nodes.length
    replaced.add(weight.name)
    quantizeProduct(builder, node, weight)
    nodes.push(...builder.graph.nodes.slice(before))
  }
  const kept = graph.initializers.filter((tensor) => !('name' in tensor && replaced.has(tensor.name)))
  return { ...graph, nodes, initializers: [...kept, ...builder.graph.initializers] }
}

function quantizeProduct(builder: GraphBuilder, node: GraphNode, weight: Initializer): void {
  const bytes = weight.data.read()
  const elements = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
  const scale = elements.reduce((greatest, element) => Math.max(greatest, Math.abs(element)), 0) / 127
  const int8 = Int8Array.from(elements, (element) => Math.round(element / scale))
  const name = `${weight.name}_int8`
  builder.tensor(name, 'int8', weight.dims, () => int8)
  const [states = ''] = node.inputs
  const names = ['values', 'scale', 'zero'].map((part) => `${node.outputs[0]}_${part}`)
  builder.namedNode('DynamicQuantizeLinear', [states], names)
  const [values = '', statesScale = '', zeroPoint = ''] = names
  const product = builder.node('MatMulInteger', [values, name, zeroPoint])
  const cast = builder.node('Cast', [product], { attributes: { to: 1 } })
  const scales = builder.node('Mul', [statesScale, builder.float(scale)])
  builder.namedNode('Mul', [cast, scales], node.outputs)
}
