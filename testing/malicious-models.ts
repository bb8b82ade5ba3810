// Malicious models, as bytes and folders. Each is a valid context except for one thing.
import { cpSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { randomInteger, seededRandom } from '../src/base/random.ts'
import { encodeModel, GraphBuilder, type OnnxGraph } from '../src/inference/onnx/onnx-writer.ts'
import { Message } from '../src/inference/onnx/protobuf-message.ts'

const FACTS = join(import.meta.dirname, '../models/facts')

/** Vocabulary of models/facts, whose tokenizer all of them have. */
export const VOCABULARY = 442

/** Writes the small files of models/facts, and onnx/model.onnx. */
export function writeContext(folder: string, model: Uint8Array): void {
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json']) {
    cpSync(join(FACTS, name), join(folder, name))
  }
  mkdirSync(join(folder, 'onnx'))
  writeFileSync(join(folder, 'onnx', 'model.onnx'), model)
}

/** A decoder by its inputs and outputs, whose logits are what `build` adds. */
export function decoderThat(build: (builder: GraphBuilder) => string): OnnxGraph {
  const builder = new GraphBuilder('decoder')
  builder.input('input_ids', 'int64', ['batch', 'sequence'])
  for (const part of ['key', 'value']) {
    builder.input(`past_key_values.0.${part}`, 'float', ['batch', 2, 'past', 16])
    builder.output(`present.0.${part}`, 'float', ['batch', 2, 'total', 16])
    builder.namedNode('Identity', [`past_key_values.0.${part}`], [`present.0.${part}`])
  }
  builder.output('logits', 'float', ['batch', 'sequence', VOCABULARY])
  builder.namedNode('Identity', [build(builder)], ['logits'])
  return builder.graph
}

/** Logits that are zero. */
export const zeros = (builder: GraphBuilder): string =>
  builder.node('Expand', [builder.float(0), builder.integers([1, 1, VOCABULARY])])

export const harmless = (): OnnxGraph => decoderThat(zeros)

interface External {
  location?: string
  offset?: string
  length?: string
  dims?: readonly number[]
  type?: number
  /** More entries, after the others. */
  more?: [key: string, value: string][]
}

/** The bytes of a TensorProto of 4 floats whose elements are elsewhere. */
function externalTensor({ location, offset, length, dims = [4], type = 1, more = [] }: External): Message {
  const tensor = new Message()
  for (const dim of dims) tensor.integer(1, dim)
  tensor.integer(2, type).text(8, 'weights')
  const entries = Object.entries({ location, offset, length }).concat(more)
  for (const [key, value] of entries) {
    if (value !== undefined) tensor.message(13, new Message().text(1, key).text(2, value))
  }
  return tensor.integer(14, 1)
}

/** A decoder that adds up weights which are said to be in another file. */
export function withWeights(external: External): Uint8Array {
  const graph = decoderThat((builder) => {
    const sum = builder.node('ReduceSum', ['weights'], { attributes: { keepdims: 0 } })
    return builder.node('Expand', [sum, builder.integers([1, 1, VOCABULARY])])
  })
  const encoded = Buffer.concat(externalTensor(external).parts as Uint8Array[])
  graph.initializers.push({ encoded })
  return encodeModel(graph)
}

/** A Constant node whose elements are in another file. */
export function withExternalConstant(location: string): Uint8Array {
  const tensor = externalTensor({ location, length: '16' })
  const attribute = new Message().text(1, 'value').message(5, tensor).integer(20, 4)
  const node = new Message().text(2, 'weights').text(3, 'constant').text(4, 'Constant').message(5, attribute)
  const graph = decoderThat((builder) => {
    builder.graph.nodes.push({ encoded: Buffer.concat(node.parts as Uint8Array[]) })
    return builder.node('Expand', [
      builder.node('ReduceSum', ['weights'], { attributes: { keepdims: 0 } }),
      builder.integers([1, 1, VOCABULARY]),
    ])
  })
  return encodeModel(graph)
}

/** Two graphs after one another: protobuf merges them, a hasty reader sees the last only. */
export function twoGraphs(): Uint8Array {
  return Buffer.concat([withWeights({ location: '../../secret', length: '16' }), encodeModel(harmless())])
}

/** Messages in messages, 2,000 deep. */
export function deepNesting(): Uint8Array {
  let inner: Uint8Array = new Uint8Array(0)
  for (let depth = 0; depth < 2_000; depth += 1) {
    inner = Buffer.concat(new Message().bytes(7, inner).parts as Uint8Array[])
  }
  return inner
}

export function noise(bytes: number, seed = 4): Uint8Array {
  const random = seededRandom(seed)
  return Uint8Array.from({ length: bytes }, () => randomInteger(random, 256))
}

function body(build: (builder: GraphBuilder) => void): OnnxGraph {
  const builder = new GraphBuilder('body', 'body_')
  build(builder)
  return builder.graph
}

export function endlessLoop(builder: GraphBuilder): string {
  const graph = body((inner) => {
    inner.input('iteration', 'int64', [])
    inner.input('goes_on', 'bool', [])
    inner.input('state', 'float', [])
    inner.output(inner.node('Identity', ['goes_on']), 'bool', [])
    inner.output(inner.node('Add', ['state', inner.float(1)]), 'float', [])
  })
  const yes = builder.node('Cast', [builder.integers(1)], { attributes: { to: 9 } })
  const turns = builder.integers(Number.MAX_SAFE_INTEGER)
  const last = builder.node('Loop', [turns, yes, builder.float(0)], { attributes: { body: { graph } } })
  return builder.node('Expand', [last, builder.integers([1, 1, VOCABULARY])])
}

export function branch(builder: GraphBuilder): string {
  const graph = body((inner) => inner.output(inner.node('Identity', [inner.float(1)]), 'float', []))
  const yes = builder.node('Cast', [builder.integers(1)], { attributes: { to: 9 } })
  const attributes = { then_branch: { graph }, else_branch: { graph } }
  return builder.node('Expand', [
    builder.node('If', [yes], { attributes }),
    builder.integers([1, 1, VOCABULARY]),
  ])
}

export function scan(builder: GraphBuilder): string {
  const graph = body((inner) => {
    inner.input('row', 'float', [])
    inner.output(inner.node('Identity', ['row']), 'float', [])
  })
  const rows = builder.node('Expand', [builder.float(0), builder.integers([VOCABULARY])])
  const scanned = builder.node('Scan', [rows], { attributes: { num_scan_inputs: 1, body: { graph } } })
  return builder.node('Reshape', [scanned, builder.integers([1, 1, VOCABULARY])])
}

export const operatorOf =
  (domain: string, operator: string) =>
  (builder: GraphBuilder): string =>
    builder.node(operator, [zeros(builder)], { domain })

/** Adds up ones, `count` of them. */
export const manyOnes =
  (...dims: number[]) =>
  (builder: GraphBuilder): string => {
    const ones = builder.node('ConstantOfShape', [builder.integers(dims)])
    const sum = builder.node('ReduceSum', [ones], { attributes: { keepdims: 0 } })
    return builder.node('Expand', [sum, builder.integers([1, 1, VOCABULARY])])
  }

/** Squares a matrix of 4,096 rows again and again: minutes of work in one step. */
export function muchWork(builder: GraphBuilder): string {
  let matrix = builder.node('ConstantOfShape', [builder.integers([4_096, 4_096])])
  for (let step = 0; step < 2_000; step += 1) matrix = builder.node('MatMul', [matrix, matrix])
  const sum = builder.node('ReduceSum', [matrix], { attributes: { keepdims: 0 } })
  return builder.node('Expand', [sum, builder.integers([1, 1, VOCABULARY])])
}

/** A file of `bytes` that takes no room on disk. */
export function sparseFile(path: string, bytes: number): void {
  writeFileSync(path, '')
  truncateSync(path, bytes)
}
