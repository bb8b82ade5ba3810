// Plain attention joins the past with the new keys and values in a matrix of its own, for each layer and
// token. Where its operators are those below, decoding leaves the past where it lies: products with the past
// and with the new ones are made apart, and only scores are joined. Prefilling stays as it was, so that a
// prompt in parts gives the bits of one in one piece.
import { DELTA_INPUTS, multiplyTransposed } from './delta-attention.ts'
import type { GraphEdit } from './graph-edit.ts'
import type { ModelNode, OnnxModel } from '../onnx/onnx-reader.ts'
import { GraphBuilder, type OnnxGraph } from '../onnx/onnx-writer.ts'
import type { ByteSource } from '../onnx/protobuf.ts'

/** onnx.TensorProto.DataType */
const INT64 = 7

const LAST_TWO_SWAPPED = '0,1,3,2'

/**
 * scores = query · Transpose(keys); shares = Softmax(… scores …); mixed = shares · values. `keys` and
 * `values` may have been given a dimension for the query heads that share them.
 */
interface PlainAttention {
  scores: ModelNode
  /** Between the product and its softmax: multiplied by a factor, or a mask added. */
  between: readonly ModelNode[]
  softmax: ModelNode
  mixed: ModelNode
  /** The input with the axes of that dimension; undefined without one. */
  axes: string | undefined
  /** All nodes that depend on the joined keys and values, up to `mixed`. */
  nodes: readonly ModelNode[]
}

/** One layer's new keys or values, and the node that appends them. */
export interface Append {
  node: ModelNode
  past: string
  added: string
}

export class PlainAttentionRewrite {
  readonly #edit: GraphEdit
  readonly #takers = new Map<string, ModelNode[]>()
  readonly #axes: ReadonlyMap<string, number>
  #pastSize: string | undefined

  constructor(edit: GraphEdit, model: OnnxModel, source: ByteSource) {
    this.#edit = edit
    for (const node of model.nodes) {
      for (const input of new Set(node.inputs)) {
        this.#takers.set(input, [...(this.#takers.get(input) ?? []), node])
      }
    }
    this.#axes = axesBeforeTokens(model, source)
  }

  /** Rewrites a layer that appends this way. Returns false and changes nothing where its operators differ. */
  rewrite(layer: number, keys: Append, values: Append): boolean {
    const found = this.#find(keys.node, values.node)
    if (found === undefined) return false
    const { mixed, nodes } = found
    const [original = ''] = mixed.outputs
    const name = `hearth_mixed_${layer}`
    const pastTokens = this.#pastTokens(keys.past)
    this.#edit.intercept(original, new Set(this.#takers.get(original)), () => {
      const branches = {
        then_branch: { graph: decodeBranch(this.#edit.builder, { layer, found, keys, values, pastTokens }) },
        else_branch: { graph: prefillBranch(layer, nodes, original) },
      }
      this.#edit.builder.namedNode('If', [DELTA_INPUTS.isDecode], [name], { attributes: branches })
      return name
    })
    for (const node of nodes) this.#edit.replace(node, () => {})
    return true
  }

  #find(keys: ModelNode, values: ModelNode): PlainAttention | undefined {
    const transposed = this.#next(keys)
    if (transposed?.operator !== 'Transpose') return undefined
    if (transposed.attributes.get('perm')?.integers.join() !== LAST_TWO_SWAPPED) return undefined
    const keysSpread = this.#spread(transposed)
    const valuesSpread = this.#spread(values)
    if (this.#axisOf(keysSpread) !== this.#axisOf(valuesSpread)) return undefined
    const scores = this.#next(keysSpread ?? transposed)
    if (!isProductWith(scores, keysSpread ?? transposed)) return undefined
    const between: ModelNode[] = []
    let softmax = this.#next(scores)
    while (softmax !== undefined && this.#isBetween(softmax)) {
      between.push(softmax)
      softmax = this.#next(softmax)
    }
    if (softmax?.operator !== 'Softmax') return undefined
    const mixed = this.#next(softmax)
    if (!isProductWith(mixed, valuesSpread ?? values) || mixed.inputs[0] !== softmax.outputs[0])
      return undefined
    const spreads = [keysSpread, valuesSpread].filter((node) => node !== undefined)
    const nodes = [keys, values, transposed, ...spreads, scores, ...between, softmax, mixed]
    return { scores, between, softmax, mixed, axes: keysSpread?.inputs[1], nodes }
  }

  /** The only node that takes what `node` makes. */
  #next(node: ModelNode): ModelNode | undefined {
    const takers = this.#takers.get(node.outputs[0] ?? '') ?? []
    return node.outputs.length === 1 && takers.length === 1 ? takers[0] : undefined
  }

  /** The node after `node` if it adds a dimension before those of tokens. */
  #spread(node: ModelNode): ModelNode | undefined {
    const next = this.#next(node)
    return next?.operator === 'Unsqueeze' && this.#axisOf(next) !== undefined ? next : undefined
  }

  #axisOf(node: ModelNode | undefined): number | undefined {
    return this.#axes.get(node?.inputs[1] ?? '')
  }

  /** A factor, or something added to every row of scores: not both sides of it may depend on them. */
  #isBetween({ operator, inputs }: ModelNode): boolean {
    const [left = '', right = ''] = inputs
    if (operator === 'Add') return left !== right
    return (operator === 'Mul' || operator === 'Div') && this.#edit.isConstant(right)
  }

  /** The cache's tokens, [1]: made once, before everything. */
  #pastTokens(past: string): string {
    if (this.#pastSize === undefined) {
      const { builder } = this.#edit
      this.#edit.prepend(() => {
        this.#pastSize = builder.node('Gather', [builder.node('Shape', [past]), builder.integers([2])])
      })
    }
    return this.#pastSize ?? ''
  }
}

interface DecodeParts {
  layer: number
  found: PlainAttention
  keys: Append
  values: Append
  pastTokens: string
}

function decodeBranch(
  outer: GraphBuilder,
  { layer, found, keys, values, pastTokens }: DecodeParts,
): OnnxGraph {
  const builder = outer.branch('decode', `hearth_decode_${layer}_`)
  const { scores, between, softmax, axes } = found
  const spread = (value: string): string =>
    axes === undefined ? value : builder.node('Unsqueeze', [value, axes])
  const [query = ''] = scores.inputs
  // One key for each row: a product and a sum, where a matrix product costs more to begin than to do.
  const newScores = builder.node(
    'ReduceSum',
    [builder.node('Mul', [query, spread(keys.added)]), builder.integers([-1])],
    { attributes: { keepdims: 1 } },
  )
  const pastScores = multiplyTransposed(builder, query, spread(keys.past))
  let joined = builder.node('Concat', [pastScores, newScores], { attributes: { axis: -1 } })
  let original = scores.outputs[0]
  for (const node of between) {
    const inputs = node.inputs.map((input) => (input === original ? joined : input))
    joined = builder.node(node.operator, inputs)
    original = node.outputs[0]
  }
  const axis = softmax.attributes.get('axis')?.integer ?? -1
  const shares = builder.node('Softmax', [joined], { attributes: { axis } })
  const sizes = builder.node('Concat', [pastTokens, builder.integers([1])], {
    attributes: { axis: 0 },
  })
  const [pastShares, newShares] = [`${shares}_past`, `${shares}_new`]
  builder.namedNode('Split', [shares, sizes], [pastShares, newShares], { attributes: { axis: -1 } })
  const mixed = builder.node('Add', [
    builder.node('MatMul', [pastShares, spread(values.past)]),
    builder.node('Mul', [newShares, spread(values.added)]),
  ])
  builder.output(mixed, 'float')
  return builder.graph
}

function prefillBranch(layer: number, nodes: readonly ModelNode[], output: string): OnnxGraph {
  const { graph } = new GraphBuilder('prefill', `hearth_prefill_${layer}_`)
  graph.nodes.push(...nodes)
  graph.outputs.push({ name: output, type: 'float' })
  return graph
}

function isProductWith(node: ModelNode | undefined, right: ModelNode): node is ModelNode {
  return node?.operator === 'MatMul' && node.inputs[1] === right.outputs[0]
}

/** Constants that say, as the axes of Unsqueeze, that a dimension comes before those of tokens and elements. */
function axesBeforeTokens({ initializers }: OnnxModel, source: ByteSource): Map<string, number> {
  const axes = new Map<string, number>()
  for (const { name, type, dims, place } of initializers) {
    if (type !== INT64 || dims.join() !== '1' || place === undefined || place.location !== undefined) continue
    const bytes = source.slice(place.offset, place.offset + place.length)
    if (bytes.byteLength !== 8) continue
    const axis = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigInt64(0, true)
    if (axis >= 0n && axis <= 2n) axes.set(name, Number(axis))
  }
  return axes
}
