// The limits of a model: known operators that only compute, and weights where the graph's
// own list of them says. Hearth's reader and onnxruntime's must see the same model, so a part that they could read in
// two ways is refused.
import { HearthError } from '../../base/errors.ts'
import { ONNX_GRAPH_BYTES_MAX } from '../../base/limits.ts'
import { CONTROL_FLOW, MICROSOFT_OPERATORS, RANDOM_OPERATORS } from './known-operators.ts'
import type { ModelNode, ModelTensor, OnnxModel } from './onnx-reader.ts'
import { bytesSource, readFields, type ByteSource, type Field } from './protobuf.ts'

/** Bits of an element by onnx.TensorProto.DataType; strings (8) have no size. */
const ELEMENT_BITS: ReadonlyMap<number, number> = new Map(
  Object.entries({
    2: [25, 26],
    4: [21, 22, 23],
    8: [2, 3, 9, 17, 18, 19, 20, 24],
    16: [4, 5, 10, 16],
    32: [1, 6, 12],
    64: [7, 11, 13, 14],
    128: [15],
  }).flatMap(([bits, types]) => types.map((type): [number, number] => [type, Number(bits)])),
)

const EXTERNAL_KEYS = new Set(['location', 'offset', 'length', 'checksum'])

/**
 * `source` is the file that `model` was read from. Throws `model-unsupported`, naming the refused part;
 * call it before any native code sees the model.
 */
export function checkModelSafety(model: OnnxModel, source: ByteSource): void {
  checkSections(source)
  let graphBytes = 0
  for (const node of model.nodes) {
    checkOperator(node)
    checkAttributes(node)
    graphBytes += node.encoded.byteLength
  }
  if (graphBytes > ONNX_GRAPH_BYTES_MAX) {
    throw unsafe(
      `its graph without weights has ${graphBytes} bytes, over the limit of ${ONNX_GRAPH_BYTES_MAX}`,
    )
  }
  for (const tensor of model.initializers) {
    checkSize(tensor)
    checkPlace(tensor, source)
  }
}

/** Refuses a repeated graph: onnxruntime merges its parts, while Hearth's reader sees only the last. */
function checkSections(source: ByteSource): void {
  const numbers = [...readFields(source, 0, source.byteLength)].map(({ number }) => number)
  if (numbers.filter((number) => number === 7).length > 1) throw unsafe('it has several graphs')
  if (numbers.includes(20)) throw unsafe('it has a training graph')
}

function checkOperator({ name, operator, domain, hasSubgraph }: ModelNode): void {
  const isKnown = domain === '' || (domain === 'com.microsoft' && MICROSOFT_OPERATORS.has(operator))
  if (!isKnown)
    throw unsafe(`the operator ${operator} of ${domain} (node ${name}) is not on the list of known operators`)
  if (hasSubgraph || CONTROL_FLOW.has(operator)) {
    throw unsafe(`${operator} (node ${name}) is a branch or a loop, which might never end`)
  }
  if (domain === '' && RANDOM_OPERATORS.has(operator)) {
    throw unsafe(`${operator} (node ${name}) draws its own random numbers`)
  }
}

/** Refuses a constant with its elements in a file: it is in no list of weights, so its place is never checked. */
function checkAttributes({ name, encoded }: ModelNode): void {
  const source = bytesSource(encoded)
  for (const attribute of fieldsOf(source, { start: 0, end: encoded.byteLength }, [5])) {
    for (const tensor of fieldsOf(source, attribute, [5, 10])) {
      for (const field of readFields(source, tensor.start, tensor.end)) {
        const isExternal = field.number === 13 || (field.number === 14 && field.integer !== 0)
        if (isExternal) throw unsafe(`node ${name} has a constant in another file`)
      }
    }
    if ([...fieldsOf(source, attribute, [22, 23])].length > 0) {
      throw unsafe(`node ${name} has a sparse constant`)
    }
  }
}

function checkSize({ name, type, dims, place }: ModelTensor): void {
  const bits = ELEMENT_BITS.get(type)
  if (bits === undefined) throw unsafe(`${name} has elements of type ${type}`)
  const count = dims.reduce((product, dim) => product * dim, 1)
  if (dims.some((dim) => !(dim >= 0)) || !Number.isSafeInteger(count * bits)) {
    throw unsafe(`${name} has dimensions [${dims.join(', ')}]`)
  }
  const bytes = Math.ceil((count * bits) / 8)
  if (place !== undefined && !Number.isNaN(place.length) && place.length !== bytes) {
    throw unsafe(`${name} has ${place.length} bytes, but its dimensions need ${bytes}`)
  }
}

/** Requires one place, named once, with known keys only. */
function checkPlace({ name, encoded }: ModelTensor, source: ByteSource): void {
  const keys: string[] = []
  for (const entry of fieldsOf(source, encoded, [13])) {
    for (const { start, end } of fieldsOf(source, entry, [1])) {
      keys.push(Buffer.from(source.slice(start, end)).toString('utf8'))
    }
  }
  const foreign = keys.find((key) => !EXTERNAL_KEYS.has(key))
  if (foreign !== undefined)
    throw unsafe(`the external data of ${name} has an unknown entry ${JSON.stringify(foreign)}`)
  if (new Set(keys).size < keys.length) throw unsafe(`the external data of ${name} has an entry twice`)
}

function* fieldsOf(
  source: ByteSource,
  { start, end }: Pick<Field, 'start' | 'end'>,
  numbers: readonly number[],
): Generator<Field> {
  for (const field of readFields(source, start, end)) if (numbers.includes(field.number)) yield field
}

function unsafe(why: string): HearthError {
  return new HearthError(
    'model-unsupported',
    `Hearth does not run this model, because it may be unsafe: ${why}`,
  )
}
