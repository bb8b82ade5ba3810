// A model's graph while it is being rewritten. Unchanged nodes keep their encoding; weights stay in
// their files and are referred to.
import { readFields, bytesSource, type ByteSource } from '../onnx/protobuf.ts'
import { Message } from '../onnx/protobuf-message.ts'
import {
  encodeModel,
  GraphBuilder,
  type EncodedMessage,
  type GraphNode,
  type OnnxGraph,
  type StoredTensor,
} from '../onnx/onnx-writer.ts'
import type { ModelNode, ModelTensor, OnnxModel } from '../onnx/onnx-reader.ts'

/** Smaller weights are copied into the rewritten graph. */
const STORED_BYTES_MIN = 1_024

type EditNode = ModelNode | GraphNode

export class GraphEdit {
  /** Makes the new nodes, inputs and outputs. Its names begin with 'hearth_'. */
  readonly builder: GraphBuilder = new GraphBuilder('hearth', 'hearth_')
  readonly #model: OnnxModel
  readonly #initializers: ReadonlyMap<string, ModelTensor>
  readonly #nodes: EditNode[]
  readonly #producers = new Map<string, ModelNode>()
  /** Nodes of the original graph that have been given other inputs. */
  readonly #renamed = new Map<ModelNode, ModelNode>()

  constructor(model: OnnxModel) {
    this.#model = model
    this.#nodes = [...model.nodes]
    this.#initializers = new Map(model.initializers.map((tensor) => [tensor.name, tensor]))
    for (const node of model.nodes) for (const output of node.outputs) this.#producers.set(output, node)
  }

  /** The version of ONNX's own operators that the model is written for; 0 when it does not tell. */
  get operatorSet(): number {
    const versions = new Map(this.#model.operatorSets)
    return versions.get('') ?? versions.get('ai.onnx') ?? 0
  }

  /** The node of the original graph that makes `value`; undefined for inputs and weights. */
  producerOf(value: string): ModelNode | undefined {
    return this.#producers.get(value)
  }

  /** Whether `value` is independent of the inputs. */
  isConstant(value: string): boolean {
    return this.#initializers.has(value) || this.#producers.get(value)?.operator === 'Constant'
  }

  /** The current inputs of `node`. */
  inputsOf(node: ModelNode): readonly string[] {
    return this.#current(node)?.inputs ?? node.inputs
  }

  /** Puts the nodes that `build` makes with `builder` before all others. */
  prepend(build: () => void): void {
    this.#nodes.unshift(...this.#collect(build))
  }

  /** Puts them where `node` was. They must make its outputs that are still used. */
  replace(node: ModelNode, build: () => void): void {
    const made = this.#collect(build)
    const current = this.#current(node)
    if (current === undefined) throw new RangeError(`${node.name} is no longer in the graph`)
    this.#nodes.splice(this.#nodes.indexOf(current), 1, ...made)
  }

  /** Puts them right before the first of the nodes that take `value`, which then take another instead. */
  intercept(value: string, takers: ReadonlySet<ModelNode>, build: () => string): void {
    let replacement = ''
    const made = this.#collect(() => {
      replacement = build()
    })
    const first = this.#nodes.findIndex((node) => takers.has(node as ModelNode))
    for (const [index, node] of this.#nodes.entries()) {
      if (takers.has(node as ModelNode)) {
        const renamed = renameInput(node as ModelNode, value, replacement)
        this.#nodes[index] = renamed
        this.#renamed.set(node as ModelNode, renamed)
      }
    }
    this.#nodes.splice(first, 0, ...made)
  }

  /** Puts them after all others. */
  append(build: () => void): void {
    this.#nodes.push(...this.#collect(build))
  }

  /** Removes the nodes that no output needs. */
  prune(): void {
    const needed = new Set(this.builder.graph.outputs.map(({ name }) => name))
    for (let index = this.#nodes.length - 1; index >= 0; index -= 1) {
      const node = this.#nodes[index]
      if (node === undefined) continue
      if (node.outputs.some((output) => needed.has(output))) {
        for (const input of valuesOf(node)) needed.add(input)
      } else this.#nodes.splice(index, 1)
    }
  }

  /** Every value that a node takes. Other inputs need not be fed. */
  usedValues(): Set<string> {
    return new Set(this.#nodes.flatMap((node) => [...valuesOf(node)]))
  }

  /** The rewritten model; `fileName` is the original's, in whose folder its weights are looked for. */
  encode(source: ByteSource, fileName: string): Uint8Array {
    const used = this.usedValues()
    const { inputs, outputs, initializers } = this.builder.graph
    const kept = [...this.#initializers.values()].filter(({ name }) => used.has(name))
    const graph: OnnxGraph = {
      name: 'hearth',
      inputs: inputs.filter(({ name }) => used.has(name)),
      outputs,
      initializers: [...kept.map((tensor) => storeTensor(tensor, source, fileName)), ...initializers],
      nodes: this.#nodes,
    }
    return encodeModel(graph, this.#versions())
  }

  #current(node: ModelNode): ModelNode | undefined {
    const current = this.#renamed.get(node) ?? node
    return this.#nodes.includes(current) ? current : undefined
  }

  #versions(): { irVersion: number; operatorSets: [string, number][] } {
    const operatorSets = new Map(this.#model.operatorSets)
    if (!operatorSets.has('com.microsoft')) operatorSets.set('com.microsoft', 1)
    return { irVersion: this.#model.irVersion, operatorSets: [...operatorSets] }
  }

  #collect(build: () => void): GraphNode[] {
    const { nodes } = this.builder.graph
    const before = nodes.length
    build()
    return nodes.slice(before) as GraphNode[]
  }
}

/** The inputs of a node and of its branches. */
function* valuesOf(node: EditNode): Generator<string> {
  yield* node.inputs
  if ('encoded' in node) return
  for (const attribute of Object.values(node.attributes)) {
    if (typeof attribute !== 'object' || !('graph' in attribute)) continue
    for (const inner of attribute.graph.nodes) if ('inputs' in inner) yield* inner.inputs
  }
}

function renameInput(node: ModelNode, from: string, to: string): ModelNode {
  const inputs = node.inputs.map((input) => (input === from ? to : input))
  const message = new Message()
  for (const input of inputs) message.text(1, input)
  const source = bytesSource(node.encoded)
  const kept: Uint8Array[] = [Buffer.concat(message.parts as Uint8Array[])]
  let at = 0
  for (const { number, end } of readFields(source, 0, source.byteLength)) {
    if (number !== 1) kept.push(node.encoded.subarray(at, end))
    at = end
  }
  return { ...node, inputs, encoded: Buffer.concat(kept) }
}

function storeTensor(
  tensor: ModelTensor,
  source: ByteSource,
  fileName: string,
): StoredTensor | EncodedMessage {
  const { name, type, dims, place, encoded } = tensor
  const isInline = place?.location === undefined
  if (place === undefined || (isInline && place.length < STORED_BYTES_MIN) || !isInline) {
    return { encoded: source.slice(encoded.start, encoded.end).slice() }
  }
  return {
    name,
    typeNumber: type,
    dims,
    place: { location: fileName, offset: place.offset },
    byteLength: place.length,
  }
}
