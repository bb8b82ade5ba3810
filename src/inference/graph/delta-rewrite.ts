// Rewrites a stock export into its delta form: the cache is read in place, and what leaves are the logits
// of each row's last token and the new keys and values. onnxruntime copies every output to JavaScript, so
// the stock form moves the whole cache at every token.
import { DELTA_INPUTS, DeltaAttention, checkGroupedQuery } from './delta-attention.ts'
import { FLOAT, FLOAT16, isGroupedQuery, unsupported, type Decoder } from './decoder.ts'
import { GraphEdit } from './graph-edit.ts'
import type { ModelNode, OnnxModel } from '../onnx/onnx-reader.ts'
import { PlainAttentionRewrite, type Append } from './plain-attention.ts'
import type { ByteSource } from '../onnx/protobuf.ts'

/** Operators with the forms that we write: Split and Unsqueeze with their sizes and axes as inputs. */
const OPERATOR_SET_MIN = 13

/** From here on, ReduceMax has its axes as an input, as ReduceSum had before. */
const REDUCE_AXES_AS_INPUT_FROM = 18

/** Operators that a head may apply to its logits. */
const ELEMENTWISE = new Set(['Cast', 'Identity', 'Mul', 'Div', 'Add', 'Sub', 'Tanh'])

/** First operators of a head; the states are the first input. */
const HEAD_OPERATORS = new Set([
  'MatMul',
  'MatMulNBits',
  'FusedMatMul',
  'DynamicQuantizeMatMul',
  'DynamicQuantizeLinear',
])

/** A quantized product, whose states were quantized by a node before it. */
const QUANTIZED_PRODUCTS = new Set(['MatMulInteger', 'MatMulIntegerToFloat'])

/** 8-bit activations lie 127 levels on either side of the middle. */
const INT8_MIDDLE = 128
const INT8_LEVELS = 127

/** The form of the graph: results of two forms are not bit-equal. */
export const DELTA_FORM = 3

/** fp32 logits of a head that makes fp16. */
const FLOAT_LOGITS = 'hearth_logits'
/** The likeliest token of each row: the only output when no sequence needs logits. */
export const BEST_OUTPUT = 'hearth_best'

/** The greatest of each row's fp32 logits, and their sum: whether they are numbers, without copying them out. */
export const TOP_OUTPUT = 'hearth_top'
export const SUM_OUTPUT = 'hearth_sum'

export interface DeltaModel {
  bytes: Uint8Array
  /** The inputs that it wants, besides the cache. */
  inputs: ReadonlySet<string>
  /** The outputs with the new keys and values of each layer. */
  newKeys: readonly string[]
  newValues: readonly string[]
  /** The output with the logits. */
  logits: string
}

/**
 * `source` and `fileName` are the model's file: its weights stay there. Throws `model-unsupported` with
 * the reason when the graph is not of a form that we know.
 */
export function rewriteToDelta(
  model: OnnxModel,
  decoder: Decoder,
  source: ByteSource,
  fileName: string,
): DeltaModel {
  const edit = new GraphEdit(model)
  checkModel(model, edit.operatorSet)
  declareInputs(edit, model, decoder)
  const news =
    decoder.attention === 'grouped-query'
      ? replaceAttention(edit, model, decoder)
      : splitCaches(edit, model, decoder, source)
  const logits = cutLogits(edit, model, decoder)
  for (const node of model.nodes) if (node.operator === 'DynamicQuantizeLinear') quantizeByRow(edit, node)
  const { keyValueHeads, headSize } = decoder.kvShape
  const newKeys = news.map(({ key }) => key)
  const newValues = news.map(({ value }) => value)
  for (const name of [...newKeys, ...newValues]) {
    edit.builder.output(name, 'float', ['rows', keyValueHeads, 'sequence', headSize])
  }
  edit.prune()
  const inputs = edit.usedValues()
  if (decoder.attention === 'grouped-query' && inputs.has('attention_mask')) {
    throw unsupported('it uses the attention mask outside its attention')
  }
  return { bytes: edit.encode(source, fileName), inputs, newKeys, newValues, logits }
}

function checkModel(model: OnnxModel, operatorSet: number): void {
  if (operatorSet < OPERATOR_SET_MIN) throw unsupported(`it uses operator set ${operatorSet}`)
  if (model.nodes.some(({ hasSubgraph }) => hasSubgraph)) throw unsupported('it has branches or loops')
}

function declareInputs({ builder }: GraphEdit, { inputs }: OnnxModel, decoder: Decoder): void {
  const { layers, keyValueHeads, headSize } = decoder.kvShape
  builder.input(DELTA_INPUTS.tokens, 'int64', ['rows', 'sequence'])
  builder.input(DELTA_INPUTS.positions, 'int64', ['rows', 'sequence'])
  builder.input(DELTA_INPUTS.pastLengths, 'int64', ['rows', 1])
  builder.input(DELTA_INPUTS.lastPositions, 'int64', ['rows', 1, 1])
  builder.input(DELTA_INPUTS.isDecode, 'bool', [])
  builder.input('attention_mask', 'int64', ['rows', 'total'])
  // 0: all of them; we choose the last ourselves.
  if (inputs.some(({ name }) => name === 'num_logits_to_keep')) {
    builder.tensor('num_logits_to_keep', 'int64', [], () => BigInt64Array.of(0n))
  }
  const dims = ['past_rows', keyValueHeads, 'past', headSize]
  for (let layer = 0; layer < layers; layer += 1) {
    for (const part of ['key', 'value']) builder.input(`past_key_values.${layer}.${part}`, 'float', dims)
  }
}

interface NewRows {
  key: string
  value: string
}

function replaceAttention(edit: GraphEdit, model: OnnxModel, decoder: Decoder): NewRows[] {
  const nodes = model.nodes.filter(isGroupedQuery)
  for (const node of nodes) checkGroupedQuery(node)
  let attention: DeltaAttention | undefined
  edit.prepend(() => {
    attention = new DeltaAttention(edit.builder, decoder)
  })
  return Array.from({ length: decoder.kvShape.layers }, (_, layer) => {
    const node = nodes.find(({ inputs }) => inputs[3] === `past_key_values.${layer}.key`)
    if (node === undefined) throw unsupported(`layer ${layer} has an unknown kind of attention`)
    let news: NewRows | undefined
    edit.replace(node, () => {
      news = attention?.build(node, layer)
    })
    if (news === undefined) throw unsupported(`layer ${layer} could not be rewritten`)
    return news
  })
}

/** Plain attention appends new keys to the past with Concat; this finds the appended value. */
function splitCaches(edit: GraphEdit, model: OnnxModel, decoder: Decoder, source: ByteSource): NewRows[] {
  if (decoder.cacheType !== FLOAT) throw unsupported('its plain attention is not fp32')
  const rewrite = new PlainAttentionRewrite(edit, model, source)
  return Array.from({ length: decoder.kvShape.layers }, (_, layer) => {
    const [keys, values] = [findAppend(edit, layer, 'key'), findAppend(edit, layer, 'value')]
    rewrite.rewrite(layer, keys, values)
    return { key: keys.added, value: values.added }
  })
}

function findAppend(edit: GraphEdit, layer: number, part: string): Append {
  const node = edit.producerOf(`present.${layer}.${part}`)
  const [past, added] = node?.inputs ?? []
  const axis = node?.attributes.get('axis')?.integer
  const isAppend = node?.operator === 'Concat' && node.inputs.length === 2 && (axis === 2 || axis === -2)
  if (!isAppend || past !== `past_key_values.${layer}.${part}` || added === undefined) {
    throw unsupported(`layer ${layer} appends to its cache in an unknown way`)
  }
  return { node, past, added }
}

/**
 * Gives each position a scale of its own. ONNX's operator has one for the whole tensor, so that what a row
 * gets depends on its batch mates. What follows multiplies by the scale, which may be a column as well.
 */
function quantizeByRow(edit: GraphEdit, node: ModelNode): void {
  const [states = ''] = edit.inputsOf(node)
  const [quantized = '', scale = '', zeroPoint = ''] = node.outputs
  const { builder } = edit
  edit.replace(node, () => {
    const middle = builder.tensor(`${zeroPoint}_middle`, 'uint8', [], () => Uint8Array.of(INT8_MIDDLE))
    const absolute = builder.node('Abs', [states])
    const greatest =
      edit.operatorSet < REDUCE_AXES_AS_INPUT_FROM
        ? builder.node('ReduceMax', [absolute], { attributes: { axes: [-1], keepdims: 1 } })
        : builder.node('ReduceMax', [absolute, builder.integers([-1])], { attributes: { keepdims: 1 } })
    const bounded = builder.node('Max', [greatest, builder.float(1e-8)])
    builder.namedNode('Mul', [bounded, builder.float(1 / INT8_LEVELS)], [scale])
    const scaled = builder.node('Div', [states, scale])
    builder.namedNode('QuantizeLinear', [scaled, builder.float(1), middle], [quantized])
    builder.namedNode('Identity', [middle], [zeroPoint])
  })
}

/**
 * Computes the head for each row's last token only: [rows, 1, vocabulary] instead of every position's. Returns
 * the output with them: the head's own where it can be, for an output that another is made of is copied.
 */
function cutLogits(edit: GraphEdit, { outputs }: OnnxModel, { vocabularySize }: Decoder): string {
  const { states, takers } = findHead(edit)
  edit.intercept(states, takers, () =>
    edit.builder.node('GatherND', [states, DELTA_INPUTS.lastPositions], { attributes: { batch_dims: 1 } }),
  )
  const isHalf = outputs.find(({ name }) => name === 'logits')?.type === FLOAT16
  const logits = isHalf ? FLOAT_LOGITS : 'logits'
  if (isHalf) {
    edit.append(() => edit.builder.namedNode('Cast', ['logits'], [logits], { attributes: { to: FLOAT } }))
  }
  edit.append(() => {
    const attributes = { axis: -1, keepdims: 0 }
    edit.builder.namedNode('ArgMax', [logits], [BEST_OUTPUT], { attributes })
    namedReduceMax(edit, logits, TOP_OUTPUT)
    const axes = edit.builder.integers([-1])
    edit.builder.namedNode('ReduceSum', [logits, axes], [SUM_OUTPUT], { attributes: { keepdims: 0 } })
  })
  edit.builder.output(TOP_OUTPUT, 'float', ['rows', 1])
  edit.builder.output(SUM_OUTPUT, 'float', ['rows', 1])
  edit.builder.output(logits, 'float', ['rows', 1, vocabularySize])
  edit.builder.output(BEST_OUTPUT, 'int64', ['rows', 1])
  return logits
}

function namedReduceMax({ builder, operatorSet }: GraphEdit, values: string, output: string): void {
  if (operatorSet < REDUCE_AXES_AS_INPUT_FROM) {
    builder.namedNode('ReduceMax', [values], [output], { attributes: { axes: [-1], keepdims: 0 } })
  } else {
    const axes = builder.integers([-1])
    builder.namedNode('ReduceMax', [values, axes], [output], { attributes: { keepdims: 0 } })
  }
}

/** The value that the head begins with, and the nodes that take it. */
function findHead(edit: GraphEdit): { states: string; takers: Set<ModelNode> } {
  const states = new Set<string>()
  const takers = new Set<ModelNode>()
  const seen = new Set<ModelNode>()
  const visit = (value: string): void => {
    const node = edit.producerOf(value)
    if (edit.isConstant(value) || (node !== undefined && seen.has(node))) return
    if (node === undefined) throw unsupported('its logits are computed in an unknown way')
    seen.add(node)
    const [first = ''] = node.inputs
    if (HEAD_OPERATORS.has(node.operator)) {
      states.add(first)
      takers.add(node)
    } else if (QUANTIZED_PRODUCTS.has(node.operator)) visit(first)
    else if (ELEMENTWISE.has(node.operator)) for (const input of node.inputs) visit(input)
    else throw unsupported(`its logits come from ${node.operator}`)
  }
  visit('logits')
  const [state, ...others] = states
  if (state === undefined || others.length > 0 || takers.size === 0) {
    throw unsupported('its logits are computed in an unknown way')
  }
  return { states: state, takers }
}
