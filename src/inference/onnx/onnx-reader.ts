// Reads an ONNX model's graph, and where its weights are. Field numbers are those of onnx.proto
// (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
import { HearthError } from '../../base/errors.ts'
import { ONNX_NODES_MAX } from '../../base/limits.ts'
import { malformed, readFields, readPacked, type ByteSource, type Field } from './protobuf.ts'

/** The place of a tensor's elements: in the model's file, or in another file of its folder. */
export interface TensorPlace {
  /** File name relative to the model's folder; undefined for the model's own file. */
  location: string | undefined
  offset: number
  length: number
}

export interface ModelTensor {
  name: string
  /** onnx.TensorProto.DataType */
  type: number
  dims: readonly number[]
  /** undefined when the elements are not stored as raw bytes. */
  place: TensorPlace | undefined
  /** The whole TensorProto in the model's file. */
  encoded: { start: number; end: number }
}

export interface ModelAttribute {
  name: string
  integer: number
  float: number
  text: string
  integers: readonly number[]
}

export interface ModelNode {
  name: string
  operator: string
  /** '' for ONNX's own. */
  domain: string
  inputs: readonly string[]
  outputs: readonly string[]
  attributes: ReadonlyMap<string, ModelAttribute>
  hasSubgraph: boolean
  /** The NodeProto as it was; undefined for a node made by us. */
  encoded: Uint8Array
}

export interface ModelValue {
  name: string
  /** onnx.TensorProto.DataType; 0 when it is no tensor. */
  type: number
  /** A number, or the name of a free dimension ('' when it has none). */
  dims: readonly (number | string)[]
}

export interface OnnxModel {
  irVersion: number
  operatorSets: readonly [domain: string, version: number][]
  nodes: readonly ModelNode[]
  initializers: readonly ModelTensor[]
  inputs: readonly ModelValue[]
  outputs: readonly ModelValue[]
}

const text = ({ buffer, byteOffset, byteLength }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('utf8')

/** Throws `model-unsupported` when the model is malformed or has unsupported parts (local functions). */
export function readModel(source: ByteSource): OnnxModel {
  let graph: Field | undefined
  let irVersion = 0
  const operatorSets: [string, number][] = []
  for (const field of readFields(source, 0, source.byteLength)) {
    if (field.number === 1) irVersion = field.integer
    if (field.number === 7) graph = field
    if (field.number === 8) operatorSets.push(readOperatorSet(source, field))
    if (field.number === 25)
      throw new HearthError(
        'model-unsupported',
        'the ONNX model has local functions, which Hearth does not support: export it without them',
      )
  }
  if (graph === undefined) throw malformed('it has no graph')
  return { irVersion, operatorSets, ...readGraph(source, graph) }
}

function readOperatorSet(source: ByteSource, { start, end }: Field): [string, number] {
  let domain = ''
  let version = 0
  for (const field of readFields(source, start, end)) {
    if (field.number === 1) domain = text(source.slice(field.start, field.end))
    if (field.number === 2) version = field.integer
  }
  return [domain, version]
}

function readGraph(source: ByteSource, { start, end }: Field): Omit<OnnxModel, 'irVersion' | 'operatorSets'> {
  const nodes: ModelNode[] = []
  const initializers: ModelTensor[] = []
  const inputs: ModelValue[] = []
  const outputs: ModelValue[] = []
  for (const field of readFields(source, start, end)) {
    if (field.number === 1) nodes.push(readNode(source, field))
    if (field.number === 5) initializers.push(readTensor(source, field))
    if (field.number === 11) inputs.push(readValue(source, field))
    if (field.number === 12) outputs.push(readValue(source, field))
    if (field.number === 15)
      throw new HearthError(
        'model-unsupported',
        'the ONNX model has sparse weights, which Hearth does not support: export it with dense weights',
      )
    if (nodes.length + initializers.length > ONNX_NODES_MAX) throw malformed('it has too many nodes')
  }
  return { nodes, initializers, inputs, outputs }
}

function readNode(source: ByteSource, { start, end }: Field): ModelNode {
  const inputs: string[] = []
  const outputs: string[] = []
  const attributes = new Map<string, ModelAttribute>()
  const names: Record<number, string> = {}
  let hasSubgraph = false
  for (const field of readFields(source, start, end)) {
    if (field.number === 5) {
      const attribute = readAttribute(source, field)
      attributes.set(attribute.name, attribute)
      hasSubgraph ||= attribute.hasSubgraph
    } else if (field.number <= 7) {
      const name = text(source.slice(field.start, field.end))
      if (field.number === 1) inputs.push(name)
      else if (field.number === 2) outputs.push(name)
      else names[field.number] = name
    }
  }
  const { 3: name = '', 4: operator = '', 7: domain = '' } = names
  const encoded = source.slice(start, end)
  const plainDomain = domain === 'ai.onnx' ? '' : domain
  return { name, operator, domain: plainDomain, inputs, outputs, attributes, hasSubgraph, encoded }
}

function readAttribute(source: ByteSource, { start, end }: Field): ModelAttribute & { hasSubgraph: boolean } {
  const attribute = {
    name: '',
    integer: 0,
    float: 0,
    text: '',
    integers: [] as number[],
    hasSubgraph: false,
  }
  for (const field of readFields(source, start, end)) {
    const bytes = (): Uint8Array => source.slice(field.start, field.end)
    if (field.number === 1) attribute.name = text(bytes())
    if (field.number === 2) attribute.float = Buffer.from(bytes()).readFloatLE(0)
    if (field.number === 3) attribute.integer = field.integer
    if (field.number === 4) attribute.text = text(bytes())
    if (field.number === 8) attribute.integers.push(...readIntegers(source, field))
    if (field.number === 6 || field.number === 11) attribute.hasSubgraph = true
  }
  return attribute
}

/** A repeated int64: one for each field, or packed in one. */
function readIntegers(source: ByteSource, field: Field): number[] {
  return field.start === field.end ? [field.integer] : readPacked(source.slice(field.start, field.end))
}

function readTensor(source: ByteSource, { start, end }: Field): ModelTensor {
  const dims: number[] = []
  const external = new Map<string, string>()
  let name = ''
  let type = 0
  let isExternal = false
  let place: TensorPlace | undefined
  for (const field of readFields(source, start, end)) {
    if (field.number === 1) dims.push(...readIntegers(source, field))
    if (field.number === 2) type = field.integer
    if (field.number === 8) name = text(source.slice(field.start, field.end))
    if (field.number === 9) place = rawPlace(field)
    if (field.number === 13) external.set(...readEntry(source, field))
    if (field.number === 14) isExternal = field.integer === 1
  }
  if (isExternal) place = externalPlace(name, external)
  return { name, type, dims, place, encoded: { start, end } }
}

function rawPlace({ start, end }: Field): TensorPlace {
  return { location: undefined, offset: start, length: end - start }
}

function externalPlace(name: string, entries: ReadonlyMap<string, string>): TensorPlace {
  const location = entries.get('location')
  const offset = Number(entries.get('offset') ?? 0)
  const length = Number(entries.get('length') ?? Number.NaN)
  if (location === undefined || !Number.isSafeInteger(offset) || offset < 0) {
    throw malformed(`the place of ${name}`)
  }
  return { location, offset, length }
}

function readEntry(source: ByteSource, { start, end }: Field): [key: string, value: string] {
  const parts: Record<number, string> = {}
  for (const field of readFields(source, start, end)) {
    parts[field.number] = text(source.slice(field.start, field.end))
  }
  return [parts[1] ?? '', parts[2] ?? '']
}

/** ValueInfoProto: name, type → tensor_type → elem_type, shape → dim → dim_value | dim_param. */
function readValue(source: ByteSource, { start, end }: Field): ModelValue {
  let name = ''
  let type = 0
  const dims: (number | string)[] = []
  for (const field of readFields(source, start, end)) {
    if (field.number === 1) name = text(source.slice(field.start, field.end))
    if (field.number !== 2) continue
    for (const tensor of nested(source, field, 1)) {
      for (const part of readFields(source, tensor.start, tensor.end)) {
        if (part.number === 1) type = part.integer
        if (part.number === 2) dims.push(...[...nested(source, part, 1)].map((dim) => readDim(source, dim)))
      }
    }
  }
  return { name, type, dims }
}

function* nested(source: ByteSource, { start, end }: Field, number: number): Generator<Field> {
  for (const field of readFields(source, start, end)) if (field.number === number) yield field
}

function readDim(source: ByteSource, { start, end }: Field): number | string {
  for (const field of readFields(source, start, end)) {
    if (field.number === 1) return field.integer
    if (field.number === 2) return text(source.slice(field.start, field.end))
  }
  return ''
}
