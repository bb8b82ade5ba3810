// Turns the linear layers of an fp32 graph into what quantize_dynamic of onnxruntime's Python tools makes:
// 8-bit weights with a scale, and activations quantized while it runs.
import type { GraphNode, Initializer, OnnxGraph } from '../src/inference/onnx/onnx-writer.ts'
import { GraphBuilder } from '../src/inference/onnx/onnx-writer.ts'

const isTensor = (initializer: OnnxGraph['initializers'][number]): initializer is Initializer =>
  'data' in initializer

export function quantizeGraph(graph: OnnxGraph): OnnxGraph {
  const weights = new Map(graph.initializers.filter(isTensor).map((tensor) => [tensor.name, tensor]))
  const nodes: OnnxGraph['nodes'] = []
  const builder = new GraphBuilder('quantized', 'quantized_')
  const replaced = new Set<string>()
  /** Values that are quantized already: a value is so once, whoever takes it. */
  const quantized = new Set<string>()
  for (const node of graph.nodes as GraphNode[]) {
    const before = builder.graph.nodes.length
    const weight = weights.get(node.inputs[node.operator === 'Gather' ? 0 : 1] ?? '')
    if (node.operator === 'MatMul' && weight !== undefined) {
      quantizeProduct(builder, node, weight, quantized)
    } else if (node.operator === 'Gather' && weight?.name === EMBEDDINGS) {
      quantizeLookup(builder, node, weight)
    } else {
      nodes.push(node)
      continue
    }
    replaced.add(weight.name)
    nodes.push(...builder.graph.nodes.slice(before))
  }
  const kept = graph.initializers.filter((tensor) => !('name' in tensor && replaced.has(tensor.name)))
  return { ...graph, nodes, initializers: [...kept, ...builder.graph.initializers] }
}

const EMBEDDINGS = 'model.embed_tokens.weight'

/** int8 with one scale for the tensor, and 0 in the middle. Returns the scale. */
function quantizeWeight(builder: GraphBuilder, weight: Initializer, name: string): number {
  const elements = floatsOf(weight)
  // Loops: benches quantize models of hundreds of megabytes.
  let greatest = 0
  for (const element of elements) greatest = Math.max(greatest, Math.abs(element))
  const scale = greatest / 127
  const int8 = new Int8Array(elements.length)
  for (let index = 0; index < int8.length; index += 1) {
    int8[index] = Math.round((elements[index] as number) / scale)
  }
  builder.tensor(name, 'int8', weight.dims, () => int8)
  builder.tensor(`${name}_zero`, 'int8', [], () => Int8Array.of(0))
  return scale
}

function quantizeProduct(
  builder: GraphBuilder,
  node: GraphNode,
  weight: Initializer,
  quantized: Set<string>,
): void {
  const name = `${weight.name}_int8`
  const scale = quantizeWeight(builder, weight, name)
  const [states = ''] = node.inputs
  const names = ['values', 'scale', 'zero'].map((part) => `${states}_${part}`)
  if (!quantized.has(states)) builder.namedNode('DynamicQuantizeLinear', [states], names)
  quantized.add(states)
  const [values = '', statesScale = '', zeroPoint = ''] = names
  const product = builder.node('MatMulInteger', [values, name, zeroPoint, `${name}_zero`])
  const cast = builder.node('Cast', [product], { attributes: { to: 1 } })
  const scales = builder.node('Mul', [statesScale, builder.float(scale)])
  builder.namedNode('Mul', [cast, scales], node.outputs)
}

function quantizeLookup(builder: GraphBuilder, node: GraphNode, weight: Initializer): void {
  const name = `${weight.name}_int8`
  const scale = quantizeWeight(builder, weight, name)
  const found = builder.node('Gather', [name, node.inputs[1] ?? ''])
  builder.namedNode('DequantizeLinear', [found, builder.float(scale), `${name}_zero`], node.outputs)
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

/** Linear layers as MatMulNBits in blocks of 32: with 4 bits, what a `model_q4.onnx` is. */
export function blockGraph(graph: OnnxGraph, bits: 4 | 8 = 8): OnnxGraph {
  const weights = new Map(graph.initializers.filter(isTensor).map((tensor) => [tensor.name, tensor]))
  const builder = new GraphBuilder('blocks', 'blocks_')
  const replaced = new Set<string>()
  const nodes = (graph.nodes as GraphNode[]).map((node) => {
    const weight = node.operator === 'MatMul' ? weights.get(node.inputs[1] ?? '') : undefined
    if (weight === undefined) return node
    replaced.add(weight.name)
    return blockProduct(builder, node, weight, bits)
  })
  const kept = graph.initializers.filter((tensor) => !('name' in tensor && replaced.has(tensor.name)))
  return { ...graph, nodes, initializers: [...kept, ...builder.graph.initializers] }
}

function blockProduct(builder: GraphBuilder, node: GraphNode, weight: Initializer, bits: 4 | 8): GraphNode {
  const [inputs = 0, outputs = 0] = weight.dims
  const elements = floatsOf(weight)
  const blocks = inputs / BLOCK
  const perByte = 8 / bits
  const middle = 2 ** (bits - 1)
  const scales = new Float32Array(outputs * blocks)
  const values = new Uint8Array((outputs * inputs) / perByte)
  for (let block = 0; block < outputs * blocks; block += 1) {
    const [output, first] = [Math.floor(block / blocks), (block % blocks) * BLOCK]
    const at = (index: number): number => elements[(first + index) * outputs + output] ?? 0
    let greatest = 0
    for (let index = 0; index < BLOCK; index += 1) greatest = Math.max(greatest, Math.abs(at(index)))
    const scale = greatest / (middle - 1)
    scales[block] = scale
    for (let index = 0; index < BLOCK; index += 1) {
      const place = output * inputs + first + index
      // Two of 4 bits share a byte, the first one low.
      const shift = (place % perByte) * bits
      const byte = Math.floor(place / perByte)
      values[byte] = (values[byte] ?? 0) | ((middle + Math.round(at(index) / scale)) << shift)
    }
  }
  const names = [`${weight.name}_blocks`, `${weight.name}_scales`] as const
  builder.tensor(names[0], 'uint8', [outputs, blocks, BLOCK / perByte], () => values)
  builder.tensor(names[1], 'float', [outputs * blocks], () => scales)
  return {
    operator: 'MatMulNBits',
    inputs: [node.inputs[0] ?? '', ...names],
    outputs: node.outputs,
    attributes: { K: inputs, N: outputs, bits, block_size: BLOCK },
    domain: 'com.microsoft',
  }
}
