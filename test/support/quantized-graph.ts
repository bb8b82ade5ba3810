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

/** Every fp32 tensor, input and output as fp16: what a `model_fp16.onnx` is. */
export function halveGraph(graph: OnnxGraph): OnnxGraph {
  const halveValues = (infos: OnnxGraph['inputs']): OnnxGraph['inputs'] =>
    infos.map((info) => (info.type === 'float' ? { ...info, type: 'float16' } : info))
  const initializers = graph.initializers.map((tensor) =>
    isTensor(tensor) && tensor.type === 'float' ? halveTensor(tensor) : tensor,
  )
  return { ...graph, initializers, inputs: halveValues(graph.inputs), outputs: halveValues(graph.outputs) }
}

function floatsOf({ data }: Initializer): Float32Array {
  const bytes = data.read()
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
}

function halveTensor(tensor: Initializer): Initializer {
  const read = (): Uint8Array => new Uint8Array(Uint16Array.from(floatsOf(tensor), toHalf).buffer)
  return { ...tensor, type: 'float16', data: { byteLength: tensor.data.byteLength / 2, read } }
}

/** IEEE 754 binary16, rounded to nearest; what is too small becomes 0. */
function toHalf(value: number): number {
  const sign = value < 0 ? 0x8000 : 0
  const size = Math.abs(value)
  const exponent = Math.floor(Math.log2(size))
  if (size === 0 || exponent < -14) return sign
  const fraction = Math.round((size / 2 ** exponent - 1) * 1_024)
  return sign + ((exponent + 15) << 10) + fraction
}

const BLOCK = 32

/** Linear layers as MatMulNBits with 8 bits in blocks of 32: the form of `model_q4.onnx`, with twice the bits. */
export function blockGraph(graph: OnnxGraph): OnnxGraph {
  const weights = new Map(graph.initializers.filter(isTensor).map((tensor) => [tensor.name, tensor]))
  const builder = new GraphBuilder('blocks', 'blocks_')
  const replaced = new Set<string>()
  const nodes = (graph.nodes as GraphNode[]).map((node) => {
    const weight = node.operator === 'MatMul' ? weights.get(node.inputs[1] ?? '') : undefined
    if (weight === undefined) return node
    replaced.add(weight.name)
    return blockProduct(builder, node, weight)
  })
  const kept = graph.initializers.filter((tensor) => !('name' in tensor && replaced.has(tensor.name)))
  return { ...graph, nodes, initializers: [...kept, ...builder.graph.initializers] }
}

function blockProduct(builder: GraphBuilder, node: GraphNode, weight: Initializer): GraphNode {
  const [inputs = 0, outputs = 0] = weight.dims
  const elements = floatsOf(weight)
  const blocks = inputs / BLOCK
  const scales = new Float32Array(outputs * blocks)
  const values = new Uint8Array(outputs * inputs)
  for (let block = 0; block < outputs * blocks; block += 1) {
    const [output, first] = [Math.floor(block / blocks), (block % blocks) * BLOCK]
    const at = (index: number): number => elements[(first + index) * outputs + output] ?? 0
    let greatest = 0
    for (let index = 0; index < BLOCK; index += 1) greatest = Math.max(greatest, Math.abs(at(index)))
    scales[block] = greatest / 127
    for (let index = 0; index < BLOCK; index += 1) {
      values[output * inputs + first + index] = 128 + Math.round((at(index) / greatest) * 127)
    }
  }
  const names = [`${weight.name}_blocks`, `${weight.name}_scales`] as const
  builder.tensor(names[0], 'uint8', [outputs, blocks, BLOCK], () => values)
  builder.tensor(names[1], 'float', [outputs * blocks], () => scales)
  return {
    operator: 'MatMulNBits',
    inputs: [node.inputs[0] ?? '', ...names],
    outputs: node.outputs,
    attributes: { K: inputs, N: outputs, bits: 8, block_size: BLOCK },
    domain: 'com.microsoft',
  }
}
