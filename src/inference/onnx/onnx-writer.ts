// Writes ONNX models: the few messages of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto)
// that a graph of tensors needs, with no schema and no dependency. Tensor bytes are read only while they
// are written, one tensor at a time, so a model may be larger than memory. Same graph, same bytes.
import { closeSync, openSync, writeSync } from 'node:fs'
import { basename } from 'node:path'

/** Bytes whose number is known before they are made. */
export interface LazyBytes {
  byteLength: number
  read: () => Uint8Array
}

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

/** A whole number is an INT, a list of them INTS; a real number says that it is one. */
export type Attribute = number | string | readonly number[] | { float: number }

export interface ValueInfo {
  name: string
  type: ElementType
  /** A number for a fixed dimension, a name for a free one. */
  dims: readonly (number | string)[]
}

export interface Initializer {
  name: string
  type: ElementType
  dims: readonly number[]
  /** Little-endian elements, row-major. */
  data: LazyBytes
}

export interface GraphNode {
  operator: string
  inputs: readonly string[]
  outputs: readonly string[]
  attributes: Readonly<Record<string, Attribute>>
  domain: string
}

export interface OnnxGraph {
  name: string
  inputs: ValueInfo[]
  outputs: ValueInfo[]
  initializers: Initializer[]
  nodes: GraphNode[]
}

/** IR 8 and opset 17 are the oldest with all that we use, so every runtime of today reads them. */
const IR_VERSION = 8
const OPERATOR_SETS: readonly [domain: string, version: number][] = [
  ['', 17],
  ['com.microsoft', 1],
]

/** External tensors begin at pages, so that a runtime can map each of them. */
const PAGE_BYTES = 4_096

/** Smaller tensors stay in the graph file, as ONNX's own tools do: shape inference reads some of them. */
const EXTERNAL_BYTES_MIN = 1_024

const WIRE_VARINT = 0
const WIRE_LENGTH = 2
const WIRE_FIXED32 = 5

type Part = Uint8Array | LazyBytes

/** Unsigned LEB128; a negative number as its 64-bit two's complement, as protobuf writes int64. */
function encodeVarint(value: number): Uint8Array {
  if (!Number.isSafeInteger(value)) throw new RangeError(`not a whole number: ${value}`)
  let rest = BigInt.asUintN(64, BigInt(value))
  const bytes: number[] = []
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}

/** One protobuf message. The numbers are the field numbers of onnx.proto. */
class Message {
  readonly parts: Part[] = []
  byteLength = 0

  integer(field: number, value: number): this {
    return this.#tag(field, WIRE_VARINT).#push(encodeVarint(value))
  }

  float(field: number, value: number): this {
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setFloat32(0, value, true)
    return this.#tag(field, WIRE_FIXED32).#push(bytes)
  }

  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value, 'utf8'))
  }

  bytes(field: number, value: Part): this {
    return this.#tag(field, WIRE_LENGTH).#push(encodeVarint(value.byteLength)).#push(value)
  }

  message(field: number, value: Message): this {
    this.#tag(field, WIRE_LENGTH).#push(encodeVarint(value.byteLength))
    for (const part of value.parts) this.#push(part)
    return this
  }

  #tag(field: number, wire: number): this {
    return this.#push(encodeVarint(field * 8 + wire))
  }

  #push(part: Part): this {
    this.parts.push(part)
    this.byteLength += part.byteLength
    return this
  }
}

/** AttributeProto: its type (FLOAT 1, INT 2, STRING 3, INTS 7) is field 20. */
function encodeAttribute(name: string, value: Attribute): Message {
  const message = new Message().text(1, name)
  if (typeof value === 'number') return message.integer(3, value).integer(20, 2)
  if (typeof value === 'string') return message.text(4, value).integer(20, 3)
  if ('float' in value) return message.float(2, value.float).integer(20, 1)
  for (const item of value) message.integer(8, item)
  return message.integer(20, 7)
}

function encodeNode(node: GraphNode, index: number): Message {
  const message = new Message()
  for (const input of node.inputs) message.text(1, input)
  for (const output of node.outputs) message.text(2, output)
  message.text(3, `${node.operator}_${index}`).text(4, node.operator)
  for (const [name, value] of Object.entries(node.attributes))
    message.message(5, encodeAttribute(name, value))
  return node.domain === '' ? message : message.text(7, node.domain)
}

function encodeValueInfo({ name, type, dims }: ValueInfo): Message {
  const shape = new Message()
  for (const dim of dims) {
    shape.message(1, typeof dim === 'string' ? new Message().text(2, dim) : new Message().integer(1, dim))
  }
  const tensor = new Message().integer(1, ELEMENT_TYPES[type]).message(2, shape)
  return new Message().text(1, name).message(2, new Message().message(1, tensor))
}

/** Where an initializer's bytes are in the external file. */
interface ExternalPlace {
  location: string
  offset: number
}

function encodeInitializer(
  { name, type, dims, data }: Initializer,
  place: ExternalPlace | undefined,
): Message {
  const message = new Message()
  for (const dim of dims) message.integer(1, dim)
  message.integer(2, ELEMENT_TYPES[type]).text(8, name)
  if (place === undefined) return message.bytes(9, data)
  for (const [key, value] of Object.entries({ ...place, length: data.byteLength })) {
    message.message(13, new Message().text(1, key).text(2, String(value)))
  }
  return message.integer(14, 1)
}

function encodeGraph(graph: OnnxGraph, places: ReadonlyMap<string, ExternalPlace>): Message {
  const message = new Message()
  for (const [index, node] of graph.nodes.entries()) message.message(1, encodeNode(node, index))
  message.text(2, graph.name)
  for (const initializer of graph.initializers) {
    message.message(5, encodeInitializer(initializer, places.get(initializer.name)))
  }
  for (const input of graph.inputs) message.message(11, encodeValueInfo(input))
  for (const output of graph.outputs) message.message(12, encodeValueInfo(output))
  return message
}

function encodeModelMessage(graph: OnnxGraph, places: ReadonlyMap<string, ExternalPlace>): Message {
  const message = new Message()
    .integer(1, IR_VERSION)
    .text(2, 'hearth')
    .message(7, encodeGraph(graph, places))
  for (const [domain, version] of OPERATOR_SETS) {
    message.message(8, new Message().text(1, domain).integer(2, version))
  }
  return message
}

function bytesOf(part: Part): Uint8Array {
  if (part instanceof Uint8Array) return part
  const bytes = part.read()
  if (bytes.byteLength !== part.byteLength) {
    throw new RangeError(`${bytes.byteLength} bytes where ${part.byteLength} were announced`)
  }
  return bytes
}

/** The bytes of a model whose tensors are all inside it. For small graphs: it is all in memory. */
export function encodeModel(graph: OnnxGraph): Uint8Array {
  return Buffer.concat(encodeModelMessage(graph, new Map()).parts.map(bytesOf))
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

function* externalParts(graph: OnnxGraph, places: ReadonlyMap<string, ExternalPlace>): Generator<Part> {
  let end = 0
  for (const { name, data } of graph.initializers) {
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
  const places = external ? placeExternally(graph.initializers, `${basename(path)}_data`) : new Map()
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

  constructor(name: string) {
    this.graph = { name, inputs: [], outputs: [], initializers: [], nodes: [] }
  }

  input(name: string, type: ElementType, dims: readonly (number | string)[]): string {
    this.graph.inputs.push({ name, type, dims })
    return name
  }

  output(name: string, type: ElementType, dims: readonly (number | string)[]): string {
    this.graph.outputs.push({ name, type, dims })
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
    this.graph.nodes.push({ operator, inputs, outputs, attributes, domain })
  }

  /** Adds a node with one output, and returns that output's name. */
  node(operator: string, inputs: readonly string[], options: NodeOptions = {}): string {
    const output = `value_${this.graph.nodes.length}`
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
    return this.#constant('int64', dims, BigInt64Array.from(items.map(BigInt)))
  }

  /** A scalar constant. */
  float(value: number): string {
    return this.#constant('float', [], Float32Array.of(value))
  }

  #constant(type: ElementType, dims: readonly number[], elements: ArrayBufferView): string {
    return this.tensor(`constant_${this.graph.initializers.length}`, type, dims, () => elements)
  }
}
