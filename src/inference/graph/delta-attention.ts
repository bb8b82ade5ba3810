// The delta form of GroupQueryAttention, in operators that everything has: the cache is an input that is
// only read, and what leaves is the attention's output and the new keys and values. Two branches:
// decoding reads the cache where it lies, past a mask, because copying it is what costs; prefilling puts
// an exact past and the new keys into one matrix, so that a prompt in parts, or after a shared prefix,
// gives the very bits that it gives in one piece.
import type { Decoder } from './decoder.ts'
import { FLOAT16, unsupported } from './decoder.ts'
import type { GraphBuilder, OnnxGraph } from '../onnx/onnx-writer.ts'
import type { ModelNode } from '../onnx/onnx-reader.ts'

const MICROSOFT = 'com.microsoft'

/** Added to the scores of positions that may not be seen: large enough to vanish, no risk of infinity. */
const MASKED_SCORE = -1e9

/** onnx.TensorProto.DataType, for Cast. */
const TO_FLOAT = { attributes: { to: 1 } }
const TO_FLOAT16 = { attributes: { to: 10 } }

export const DELTA_INPUTS = {
  tokens: 'input_ids',
  positions: 'position_ids',
  /** [rows, 1]: tokens of each row in the cache. */
  pastLengths: 'hearth_past_lengths',
  /** [rows, 1, 1]: where each row's last token is. */
  lastPositions: 'hearth_last_positions',
  /** Whether rows have one token each and the cache is as long as its slots. */
  isDecode: 'hearth_is_decode',
} as const

/** Values that all layers share, computed once. */
interface Shared {
  /** [rows, 1, 1, 1, past]: 0 where the cache has a row's tokens. */
  pastMask: string
  /** [sequence, past + sequence]: 0 where a query may see a key. */
  causalMask: string
  /** Sizes as int64 [1]. */
  rows: string
  sequence: string
  total: string
  /** [rows, heads, past, size]: what one packed past is spread to. */
  pastSizes: string
  /** [past, 1]: what scores are split into. */
  scoreSizes: string
}

/** Tensors that layers with the same number of query heads share. */
interface SharedByHeads {
  /** [group × sequence, past + sequence]: the causal mask for each of the heads in a group. */
  groupMask: string
  /** [rows, sequence, heads × size]: what leaves. */
  mixedSizes: string
}

/** The sizes of the heads, with the query heads of one key-value head. */
interface Heads {
  keyValueHeads: number
  group: number
  headSize: number
  scale: number
}

/** Attributes and optional inputs with their usual values. Any other value changes the result. */
const USUAL: Readonly<Record<string, number>> = {
  local_window_size: -1,
  softcap: 0,
  smooth_softmax: -1,
  qk_output: 0,
  kv_cache_bit_width: 0,
}
const READ_ATTRIBUTES = new Set(['num_heads', 'kv_num_heads', 'do_rotary', 'rotary_interleaved', 'scale'])
/** The first optional input after the rotary caches: positions, bias, sinks, norms, quantization scales. */
const EXTRA_INPUTS_FROM = 9

/** Throws `model-unsupported` when the node computes what the delta form does not. */
export function checkGroupedQuery(node: ModelNode): void {
  for (const { name, integer, float, text } of node.attributes.values()) {
    if (READ_ATTRIBUTES.has(name)) continue
    const isUsual = name in USUAL ? [USUAL[name], 0].includes(integer + float) : false
    if (!isUsual && text !== 'NONE') throw unsupported(`its attention has ${name}`)
  }
  const window = node.attributes.get('local_window_size')
  if (window !== undefined && window.integer !== -1) throw unsupported('its attention has a window')
  if (node.inputs.slice(EXTRA_INPUTS_FROM).some((input) => input !== '')) {
    throw unsupported('its attention has unknown inputs')
  }
}

export class DeltaAttention {
  readonly #builder: GraphBuilder
  readonly #decoder: Decoder
  readonly #shared: Shared
  readonly #sharedByGroup = new Map<number, SharedByHeads>()

  /** Adds the shared values to `builder`. */
  constructor(builder: GraphBuilder, decoder: Decoder) {
    this.#builder = builder
    this.#decoder = decoder
    this.#shared = this.#buildShared()
  }

  /** Adds the delta form of `node`, layer `layer`; makes its first output, and the new keys and values. */
  build(node: ModelNode, layer: number): { key: string; value: string } {
    const heads = this.#headsOf(node)
    const projections = this.#project(node, heads)
    const [rotated, flatKey] = this.#rotate(node, projections.query, projections.key)
    // Scaled out here, where onnxruntime does not merge it into the products: its kernel for a single row,
    // which reads the cache as it lies, takes no factor.
    const query = this.#builder.node('Mul', [rotated, this.#builder.float(heads.scale)])
    const key = this.#splitHeads(flatKey, heads)
    const value = this.#splitHeads(projections.value, heads)
    const past = [`past_key_values.${layer}.key`, `past_key_values.${layer}.value`] as const
    const shared = this.#sharedBy(heads)
    const parts = { query, key, value, pastKey: past[0], pastValue: past[1], shared }
    const branches = {
      then_branch: { graph: this.#decodeBranch(layer, heads, parts) },
      else_branch: { graph: this.#prefillBranch(layer, heads, parts) },
    }
    const [mixed = ''] = node.outputs
    const isHalf = this.#decoder.cacheType === FLOAT16
    const output = isHalf ? `${mixed}_float` : mixed
    this.#builder.namedNode('If', [DELTA_INPUTS.isDecode], [output], { attributes: branches })
    if (isHalf) this.#builder.namedNode('Cast', [output], [mixed], TO_FLOAT16)
    return { key, value }
  }

  #buildShared(): Shared {
    const builder = this.#builder
    const size = (value: string, dimension: number): string =>
      builder.node('Gather', [builder.node('Shape', [value]), builder.integers([dimension])])
    const scalar = (value: string): string => builder.node('Squeeze', [value, builder.integers([0])])
    const join = (...sizes: string[]): string => builder.node('Concat', sizes, { attributes: { axis: 0 } })
    const rows = size(DELTA_INPUTS.tokens, 0)
    const sequence = size(DELTA_INPUTS.tokens, 1)
    const past = size('past_key_values.0.key', 2)
    const total = builder.node('Add', [past, sequence])
    const [zero, one] = [builder.integers(0), builder.integers(1)]
    const mask = (visible: string): string =>
      builder.node('Where', [visible, builder.float(0), builder.float(MASKED_SCORE)])
    const held = builder.node('Less', [
      builder.node('Range', [zero, scalar(past), one]),
      DELTA_INPUTS.pastLengths,
    ])
    const queries = builder.node('Range', [scalar(past), scalar(total), one])
    const causal = builder.node('LessOrEqual', [
      builder.node('Range', [zero, scalar(total), one]),
      builder.node('Unsqueeze', [queries, builder.integers([1])]),
    ])
    const pastMask = builder.node('Unsqueeze', [mask(held), builder.integers([1, 2, 3])])
    const { keyValueHeads, headSize } = this.#decoder.kvShape
    const pastSizes = join(rows, builder.integers([keyValueHeads]), past, builder.integers([headSize]))
    const scoreSizes = join(past, builder.integers([1]))
    return { rows, sequence, total, pastMask, causalMask: mask(causal), pastSizes, scoreSizes }
  }

  /** Made before the first layer that needs it. */
  #sharedBy({ group, keyValueHeads, headSize }: Heads): SharedByHeads {
    const found = this.#sharedByGroup.get(group)
    if (found !== undefined) return found
    const builder = this.#builder
    const { rows, sequence, total, causalMask } = this.#shared
    const join = (...sizes: string[]): string => builder.node('Concat', sizes, { attributes: { axis: 0 } })
    const repeated = builder.node('Expand', [causalMask, join(builder.integers([group]), sequence, total)])
    const shared = {
      groupMask: builder.node('Reshape', [repeated, join(builder.integers([-1]), total)]),
      mixedSizes: join(rows, sequence, builder.integers([keyValueHeads * group * headSize])),
    }
    this.#sharedByGroup.set(group, shared)
    return shared
  }

  #headsOf({ attributes }: ModelNode): Heads {
    const { keyValueHeads, headSize } = this.#decoder.kvShape
    const heads = attributes.get('num_heads')?.integer ?? 0
    if (attributes.get('kv_num_heads')?.integer !== keyValueHeads || heads % keyValueHeads !== 0) {
      throw unsupported('its attention and its cache have different heads')
    }
    const scale = attributes.get('scale')?.float ?? 0
    return {
      keyValueHeads,
      group: heads / keyValueHeads,
      headSize,
      scale: scale === 0 ? 1 / Math.sqrt(headSize) : scale,
    }
  }

  /** Query, key and value as fp32; some exports have them in one. */
  #project(node: ModelNode, heads: Heads): { query: string; key: string; value: string } {
    const [first = '', second = '', third = ''] = node.inputs
    const names = second === '' ? this.#splitPacked(first, heads) : [first, second, third]
    const isHalf = this.#decoder.cacheType === FLOAT16
    const [query = '', key = '', value = ''] = isHalf
      ? names.map((name) => this.#builder.node('Cast', [name], TO_FLOAT))
      : names
    return { query, key, value }
  }

  #splitPacked(packed: string, { keyValueHeads, group, headSize }: Heads): string[] {
    const keys = keyValueHeads * headSize
    const outputs = ['query', 'key', 'value'].map((part) => `hearth_${part}_of_${packed}`)
    const sizes = this.#builder.integers([keys * group, keys, keys])
    this.#builder.namedNode('Split', [packed, sizes], outputs, { attributes: { axis: -1 } })
    return outputs
  }

  #rotate({ attributes, inputs }: ModelNode, query: string, key: string): [query: string, key: string] {
    if (attributes.get('do_rotary')?.integer !== 1) return [query, key]
    const isHalf = this.#decoder.cacheType === FLOAT16
    const caches = [inputs[7] ?? '', inputs[8] ?? ''].map((cache) =>
      isHalf ? this.#builder.node('Cast', [cache], TO_FLOAT) : cache,
    )
    const interleaved = attributes.get('rotary_interleaved')?.integer ?? 0
    const rotate = (states: string): string =>
      this.#builder.node('RotaryEmbedding', [states, DELTA_INPUTS.positions, ...caches], {
        attributes: { interleaved },
        domain: MICROSOFT,
      })
    return [rotate(query), rotate(key)]
  }

  /** [rows, sequence, heads × size] → [rows, heads, sequence, size]: the cache's layout. */
  #splitHeads(flat: string, { keyValueHeads, headSize }: Heads): string {
    const builder = this.#builder
    const split = builder.node('Reshape', [flat, builder.integers([0, 0, keyValueHeads, headSize])])
    return builder.node('Transpose', [split], { attributes: { perm: [0, 2, 1, 3] } })
  }

  /** Each query head is a product of its own, [rows, key-value heads, group, 1, size]: see `build`. */
  #decodeBranch(layer: number, heads: Heads, parts: Parts): OnnxGraph {
    const builder = this.#builder.branch('decode', `hearth_decode_${layer}_`)
    const { keyValueHeads, group, headSize } = heads
    const alone = (value: string): string => builder.node('Unsqueeze', [value, builder.integers([2])])
    const query = builder.node('Reshape', [
      parts.query,
      builder.integers([-1, keyValueHeads, group, 1, headSize]),
    ])
    const pastScores = builder.node('Add', [
      multiplyTransposed(builder, query, alone(parts.pastKey)),
      this.#shared.pastMask,
    ])
    // One key for each row: a product and a sum, where a matrix product costs more to begin than to do.
    const products = builder.node('Mul', [query, alone(parts.key)])
    const newScores = builder.node('ReduceSum', [products, builder.integers([-1])], {
      attributes: { keepdims: 1 },
    })
    const scores = builder.node('Concat', [pastScores, newScores], { attributes: { axis: -1 } })
    const shares = builder.node('Softmax', [scores], { attributes: { axis: -1 } })
    const [pastShares, newShares] = [`${shares}_past`, `${shares}_new`]
    builder.namedNode('Split', [shares, this.#shared.scoreSizes], [pastShares, newShares], {
      attributes: { axis: -1 },
    })
    const mixed = builder.node('Add', [
      builder.node('MatMul', [pastShares, alone(parts.pastValue)]),
      builder.node('Mul', [newShares, alone(parts.value)]),
    ])
    this.#leave(builder, mixed, heads, parts)
    return builder.graph
  }

  #prefillBranch(layer: number, heads: Heads, parts: Parts): OnnxGraph {
    const builder = this.#builder.branch('prefill', `hearth_prefill_${layer}_`)
    const { keyValueHeads, group, headSize } = heads
    const reshape = (value: string, dims: number[]): string =>
      builder.node('Reshape', [value, builder.integers(dims)])
    const withPast = (before: string, after: string): string =>
      builder.node('Concat', [builder.node('Expand', [before, this.#shared.pastSizes]), after], {
        attributes: { axis: 2 },
      })
    const split = reshape(parts.query, [0, 0, keyValueHeads, group, headSize])
    const byHead = builder.node('Transpose', [split], { attributes: { perm: [0, 2, 3, 1, 4] } })
    const query = reshape(byHead, [0, keyValueHeads, -1, headSize])
    const scores = multiplyTransposed(builder, query, withPast(parts.pastKey, parts.key))
    const masked = builder.node('Add', [scores, parts.shared.groupMask])
    const shares = builder.node('Softmax', [masked], { attributes: { axis: -1 } })
    const mixed = builder.node('MatMul', [shares, withPast(parts.pastValue, parts.value)])
    const unjoined = reshape(mixed, [0, keyValueHeads, group, -1, headSize])
    const inOrder = builder.node('Transpose', [unjoined], { attributes: { perm: [0, 3, 1, 2, 4] } })
    this.#leave(builder, inOrder, heads, parts)
    return builder.graph
  }

  /**
   * The output of a branch, with its whole shape: onnxruntime looks for memory to use again by shapes, through a
   * list that only grows where they are not known.
   */
  #leave(builder: GraphBuilder, mixed: string, heads: Heads, { shared }: Parts): void {
    const elements = heads.keyValueHeads * heads.group * heads.headSize
    const flat = builder.node('Reshape', [mixed, shared.mixedSizes])
    builder.output(flat, 'float', ['rows', 'sequence', elements])
  }
}

/** Values of the outer graph that a branch reads. */
interface Parts {
  /** [rows, sequence, heads × size], scaled */
  query: string
  /** [rows, heads, sequence, size] */
  key: string
  value: string
  /** [rows or 1, heads, past, size] */
  pastKey: string
  pastValue: string
  shared: SharedByHeads
}

/** left · rightᵀ */
export function multiplyTransposed(builder: GraphBuilder, left: string, right: string): string {
  return builder.node('FusedMatMul', [left, right], { attributes: { transB: 1 }, domain: MICROSOFT })
}
