// Writes ONNX models: the few messages of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto)
// that a graph of tensors needs, with no schema and no dependency. Tensor bytes are read only while they
// are written, one tensor at a time, so a model may be larger than memory. Same graph, same bytes.
import { closeSync, openSync, writeSync } from 'node:fs'
import { basename } from 'node:path'
import { bytesOf, Message, type LazyBytes, type Part } from './protobuf-message.ts'

/** onnx.TensorProto.DataType */
export const ELEMENT_TYPES = {
  float: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
} as const

export type ElementType = keyof typeof ELEMENT_TYPES

const ELEMENT_BYTES: Readonly<Record<ElementType, number>> = {
  float: 4,
  uint8: 1,
  int8: 1,
  int32: 4,
  int64: 8,
  bool: 1,
  float16: 2,
}

/** A whole number is an INT, a list of them INTS; a real number says that it is one. A graph is a branch of If. */
export type Attribute = number | string | readonly number[] | { float: number } | { graph: OnnxGraph }

export interface ValueInfo {
  name: string
  type: ElementType
  /** A number for a fixed dimension, a name for a free one. Absent: the shape is not told. */
  dims?: readonly (number | string)[]
}

export interface Initializer {
  name: string
  type: ElementType
  dims: readonly number[]
  /** Little-endian elements, row-major. */
  data: LazyBytes
}

export interface GraphNode {
  /** Unique in its model; by default the operator and its place. */
  name?: string
  operator: string
  inputs: readonly string[]
  outputs: readonly string[]
  attributes: Readonly<Record<string, Attribute>>
  domain: string
}

/** A message as it was in another model. */
export interface EncodedMessage {
  encoded: Uint8Array
}

/** A tensor whose elements are in a file that is there already. */
export interface StoredTensor {
  name: string
  /** onnx.TensorProto.DataType */
  typeNumber: number
  dims: readonly number[]
  place: ExternalPlace
  byteLength: number
}

/** Where a tensor's bytes are in an external file: its name in the model's folder. */
export interface ExternalPlace {
  location: string
  offset: number
}

export interface OnnxGraph {
  name: string
  inputs: ValueInfo[]
  outputs: ValueInfo[]
  initializers: (Initializer | StoredTensor | EncodedMessage)[]
  nodes: (GraphNode | EncodedMessage)[]
}

export interface ModelVersions {
  irVersion: number
  operatorSets: readonly (readonly [domain: string, version: number])[]
}

/** IR 8 and opset 17 are the oldest with all that we use, so every runtime of today reads them. */
const VERSIONS: ModelVersions = {
  irVersion: 8,
  operatorSets: [
    ['', 17],
    ['com.microsoft', 1],
  ],
}

/** External tensors begin at pages, so that a runtime can map each of them. */
const PAGE_BYTES = 4_096

/** Smaller tensors stay in the graph file, as ONNX's own tools do: shape inference reads some of them. */
const EXTERNAL_BYTES_MIN = 1_024

/** AttributeProto: its type (FLOAT 1, INT 2, STRING 3, GRAPH 5, INTS 7) is field 20. */
function encodeAttribute(name: string, value: Attribute): Message {
  const message = new Message().text(1, name)
  if (typeof value === 'number') return message.integer(3, value).integer(20, 2)
  if (typeof value === 'string') return message.text(4, value).integer(20, 3)
  if ('float' in value) return message.float(2, value.float).integer(20, 1)
  if ('graph' in value) return message.message(6, encodeGraph(value.graph, new Map())).integer(20, 5)
  for (const item of value) message.integer(8, item)
  return message.integer(20, 7)
}

function encodeNode(node: GraphNode, index: number): Message {
  const message = new Message()
  for (const input of node.inputs) message.text(1, input)
  for (const output of node.outputs) message.text(2, output)
  message.text(3, node.name ?? `${node.operator}_${index}`).text(4, node.operator)
  for (const [name, value] of Object.entries(node.attributes))
    message.message(5, encodeAttribute(name, value))
  return node.domain === '' ? message : message.text(7, node.domain)
}

function encodeValueInfo({ name, type, dims }: ValueInfo): Message {
  const tensor = new Message().integer(1, ELEMENT_TYPES[type])
  if (dims !== undefined) tensor.message(2, encodeShape(dims))
  return new Message().text(1, name).message(2, new Message().message(1, tensor))
}

function encodeShape(dims: readonly (number | string)[]): Message {
  const shape = new Message()
  for (const dim of dims) {
    shape.message(1, typeof dim === 'string' ? new Message().text(2, dim) : new Message().integer(1, dim))
  }
  return shape
}

function encodeInitializer(
  { name, type, dims, data }: Initializer,
  place: ExternalPlace | undefined,
): Message {
  const typeNumber = ELEMENT_TYPES[type]
  if (place !== undefined) {
    return encodeStoredTensor({ name, typeNumber, dims, place, byteLength: data.byteLength })
  }
  return encodeTensorHead(name, typeNumber, dims).bytes(9, data)
}

function encodeTensorHead(name: string, typeNumber: number, dims: readonly number[]): Message {
  const message = new Message()
  for (const dim of dims) message.integer(1, dim)
  return message.integer(2, typeNumber).text(8, name)
}

function encodeStoredTensor({ name, typeNumber, dims, place, byteLength }: StoredTensor): Message {
  const message = encodeTensorHead(name, typeNumber, dims)
  for (const [key, value] of Object.entries({ ...place, length: byteLength })) {
    message.message(13, new Message().text(1, key).text(2, String(value)))
  }
  return message.integer(14, 1)
}

function encodeGraph(graph: OnnxGraph, places: ReadonlyMap<string, ExternalPlace>): Message {
  const message = new Message()
  for (const [index, node] of graph.nodes.entries()) {
    if ('encoded' in node) message.bytes(1, node.encoded)
    else message.message(1, encodeNode(node, index))
  }
  message.text(2, graph.name)
  for (const initializer of graph.initializers) {
    if ('encoded' in initializer) message.bytes(5, initializer.encoded)
    else if ('place' in initializer) message.message(5, encodeStoredTensor(initializer))
    else message.message(5, encodeInitializer(initializer, places.get(initializer.name)))
  }
  for (const input of graph.inputs) message.message(11, encodeValueInfo(input))
  for (const output of graph.outputs) message.message(12, encodeValueInfo(output))
  return message
}

function encodeModelMessage(
  graph: OnnxGraph,
  places: ReadonlyMap<string, ExternalPlace>,
  versions: ModelVersions = VERSIONS,
): Message {
  const message = new Message()
    .integer(1, versions.irVersion)
    .text(2, 'hearth')
    .message(7, encodeGraph(graph, places))
  for (const [domain, version] of versions.operatorSets) {
    message.message(8, new Message().text(1, domain).integer(2, version))
  }
  return message
}

/** The bytes of a model whose tensors are all inside it. For small graphs: it is all in memory. */
export function encodeModel(graph: OnnxGraph, versions?: ModelVersions): Uint8Array {
  return Buffer.concat(encodeModelMessage(graph, new Map(), versions).parts.map(bytesOf))
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.byteLength;) {
    written += writeSync(file, bytes, written, bytes.byteLength - written)
  }
}

function writeParts(path: string, parts: Iterable<Part>): void {
  const file = openSync(path, 'w')
  try {
    for (const part of parts) writeAll(file, bytesOf(part))
  } finally {
    closeSync(file)
  }
}

/** Gives each large initializer its place in the external file, in the graph's order. */
function placeExternally(initializers: readonly Initializer[], location: string): Map<string, ExternalPlace> {
  const places = new Map<string, ExternalPlace>()
  let end = 0
  for (const { name, data } of initializers) {
    if (data.byteLength < EXTERNAL_BYTES_MIN) continue
    const offset = Math.ceil(end / PAGE_BYTES) * PAGE_BYTES
    places.set(name, { location, offset })
    end = offset + data.byteLength
  }
  return places
}

/** The tensors whose elements are written with the graph. */
function ownInitializers(graph: OnnxGraph): Initializer[] {
  return graph.initializers.filter((initializer) => 'data' in initializer)
}

function* externalParts(graph: OnnxGraph, places: ReadonlyMap<string, ExternalPlace>): Generator<Part> {
  let end = 0
  for (const { name, data } of ownInitializers(graph)) {
    const place = places.get(name)
    if (place === undefined) continue
    yield new Uint8Array(place.offset - end)
    yield data
    end = place.offset + data.byteLength
  }
}

export interface WriteModelOptions {
  /** Puts large tensors in `PATH_data` beside the graph. Needed over 2 GB, protobuf's limit. Default false. */
  externalData?: boolean
}

/** Writes `graph` to `path`, and to `PATH_data` beside it when the tensors are to be outside. */
export function writeModel(graph: OnnxGraph, path: string, options: WriteModelOptions = {}): void {
  const external = options.externalData === true
  const places = external ? placeExternally(ownInitializers(graph), `${basename(path)}_data`) : new Map()
  if (external) writeParts(`${path}_data`, externalParts(graph, places))
  writeParts(path, encodeModelMessage(graph, places).parts)
}

interface NodeOptions {
  attributes?: Readonly<Record<string, Attribute>>
  domain?: string
}

/** Collects a graph node by node. Values are named by strings, as in ONNX. */
export class GraphBuilder {
  readonly graph: OnnxGraph
  readonly #prefix: string
  /** The graph around a branch. */
  readonly #outer: GraphBuilder | undefined
  readonly #constants = new Map<string, string>()

  /** `prefix` begins every name that is not given: for graphs that share names with others. */
  constructor(name: string, prefix = '', outer?: GraphBuilder) {
    this.#prefix = prefix
    this.#outer = outer
    this.graph = { name, inputs: [], outputs: [], initializers: [], nodes: [] }
  }

  /** A branch of If in this graph. Its constants are this graph's, so that branches share them. */
  branch(name: string, prefix: string): GraphBuilder {
    return new GraphBuilder(name, prefix, this)
  }

  input(name: string, type: ElementType, dims: readonly (number | string)[]): string {
    this.graph.inputs.push({ name, type, dims })
    return name
  }

  /** Without dims, the shape is not told. */
  output(name: string, type: ElementType, dims?: readonly (number | string)[]): string {
    this.graph.outputs.push(dims === undefined ? { name, type } : { name, type, dims })
    return name
  }

  /** Adds a node whose outputs are named by the caller. */
  namedNode(
    operator: string,
    inputs: readonly string[],
    outputs: readonly string[],
    options: NodeOptions = {},
  ): void {
    const { attributes = {}, domain = '' } = options
    const name = this.#prefix === '' ? {} : { name: `${this.#prefix}${operator}_${this.graph.nodes.length}` }
    this.graph.nodes.push({ ...name, operator, inputs, outputs, attributes, domain })
  }

  /** Adds a node with one output, and returns that output's name. */
  node(operator: string, inputs: readonly string[], options: NodeOptions = {}): string {
    const output = `${this.#prefix}value_${this.graph.nodes.length}`
    this.namedNode(operator, inputs, [output], options)
    return output
  }

  /** Adds a tensor whose elements are made when the model is written. Returns its name. */
  tensor(name: string, type: ElementType, dims: readonly number[], read: () => ArrayBufferView): string {
    const byteLength = dims.reduce((count, dim) => count * dim, ELEMENT_BYTES[type])
    const readBytes = (): Uint8Array => {
      const { buffer, byteOffset, byteLength: length } = read()
      return new Uint8Array(buffer, byteOffset, length)
    }
    this.graph.initializers.push({ name, type, dims, data: { byteLength, read: readBytes } })
    return name
  }

  /** A constant of whole numbers: a scalar for one number, a vector for a list. */
  integers(value: number | readonly number[]): string {
    const items = typeof value === 'number' ? [value] : value
    const dims = typeof value === 'number' ? [] : [items.length]
    return this.#constant('int64', dims, items, () => BigInt64Array.from(items.map(BigInt)))
  }

  /** A scalar constant. */
  float(value: number): string {
    return this.#constant('float', [], [value], () => Float32Array.of(value))
  }

  /** One tensor for all that are equal: each costs a runtime more than its few bytes. */
  #constant(
    type: ElementType,
    dims: readonly number[],
    items: readonly number[],
    read: () => ArrayBufferView,
  ): string {
    if (this.#outer !== undefined) return this.#outer.#constant(type, dims, items, read)
    const key = `${type}[${dims.join()}] ${items.join()}`
    const found = this.#prefix === '' ? undefined : this.#constants.get(key)
    if (found !== undefined) return found
    const name = `${this.#prefix}constant_${this.graph.initializers.length}`
    this.#constants.set(key, name)
    return this.tensor(name, type, dims, read)
  }
}
