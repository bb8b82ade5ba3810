// Builds the ONNX graph of a Llama model in the stock form of Hugging Face exports: growing past and
// present key-value tensors, logits at every position. `grouped-query` uses ONNX Runtime's fused
// GroupQueryAttention (right-padded rows); `plain` uses basic operators only (any padding; position_ids).
import { GraphBuilder, type OnnxGraph } from '../onnx/onnx-writer.ts'
import { transpose, type LlamaShape, type WeightSource } from './llama-weights.ts'

export type LlamaAttention = 'grouped-query' | 'plain'

const MICROSOFT = 'com.microsoft'

/** Added to the scores of positions that may not be seen: large enough to vanish, no risk of infinity. */
const MASKED_SCORE = -1e9

/** The inputs of one layer's attention: projected query, keys and values, each [batch, sequence, heads × size]. */
interface Projections {
  query: string
  key: string
  value: string
}

/** Adds a layer's attention; returns the mixed values, [batch, sequence, heads × headSize]. */
type AttentionBuilder = (layer: number, projections: Projections) => string

/** Cosine and sine of every rotary angle, [positions, headSize / 2]. */
function rotaryTables({ positionsMax, headSize, ropeTheta }: LlamaShape): {
  cos: Float32Array
  sin: Float32Array
} {
  const half = headSize / 2
  const cos = new Float32Array(positionsMax * half)
  const sin = new Float32Array(positionsMax * half)
  for (let position = 0; position < positionsMax; position++) {
    for (let pair = 0; pair < half; pair++) {
      const angle = position / ropeTheta ** ((2 * pair) / headSize)
      cos[position * half + pair] = Math.cos(angle)
      sin[position * half + pair] = Math.sin(angle)
    }
  }
  return { cos, sin }
}

class LlamaGraph {
  readonly builder: GraphBuilder
  readonly #shape: LlamaShape
  readonly #weights: WeightSource

  constructor(shape: LlamaShape, weights: WeightSource) {
    this.builder = new GraphBuilder('llama')
    this.#shape = shape
    this.#weights = weights
  }

  build(attention: LlamaAttention): OnnxGraph {
    this.#declareInputs(attention)
    const attend = attention === 'plain' ? this.#plainAttention() : this.#groupedQueryAttention()
    let states = this.builder.node('Gather', [this.#embeddings(), 'input_ids'])
    for (let layer = 0; layer < this.#shape.layers; layer++) states = this.#layer(layer, states, attend)
    const normed = this.#norm('model.norm.weight', states)
    const { hidden, vocabulary } = this.#shape
    this.builder.namedNode(
      'MatMul',
      [normed, this.#linearWeight('lm_head.weight', hidden, vocabulary)],
      ['logits'],
    )
    this.#declareOutputs()
    return this.builder.graph
  }

  #declareInputs(attention: LlamaAttention): void {
    const { layers, keyValueHeads, headSize } = this.#shape
    this.builder.input('input_ids', 'int64', ['batch_size', 'sequence_length'])
    this.builder.input('attention_mask', 'int64', ['batch_size', 'total_sequence_length'])
    if (attention === 'plain') this.builder.input('position_ids', 'int64', ['batch_size', 'sequence_length'])
    const dims = ['batch_size', keyValueHeads, 'past_sequence_length', headSize]
    for (let layer = 0; layer < layers; layer++) {
      for (const part of ['key', 'value'])
        this.builder.input(`past_key_values.${layer}.${part}`, 'float', dims)
    }
  }

  #declareOutputs(): void {
    const { layers, keyValueHeads, headSize, vocabulary } = this.#shape
    this.builder.output('logits', 'float', ['batch_size', 'sequence_length', vocabulary])
    const dims = ['batch_size', keyValueHeads, 'total_sequence_length', headSize]
    for (let layer = 0; layer < layers; layer++) {
      for (const part of ['key', 'value']) this.builder.output(`present.${layer}.${part}`, 'float', dims)
    }
  }

  #embeddings(): string {
    const name = 'model.embed_tokens.weight'
    const dims = [this.#shape.vocabulary, this.#shape.hidden]
    return this.builder.tensor(name, 'float', dims, () => this.#weights(name, dims))
  }

  /** A linear layer's weight as MatMul wants it, [inputs, outputs]: the transpose of Hugging Face's. */
  #linearWeight(name: string, inputs: number, outputs: number): string {
    const read = (): Float32Array => transpose(this.#weights(name, [outputs, inputs]), outputs, inputs)
    return this.builder.tensor(name, 'float', [inputs, outputs], read)
  }

  #linear(name: string, states: string, inputs: number, outputs: number): string {
    return this.builder.node('MatMul', [states, this.#linearWeight(name, inputs, outputs)])
  }

  #norm(name: string, states: string): string {
    const dims = [this.#shape.hidden]
    const weight = this.builder.tensor(name, 'float', dims, () => this.#weights(name, dims))
    const attributes = { axis: -1, epsilon: { float: this.#shape.normEpsilon }, stash_type: 1 }
    return this.builder.node('SimplifiedLayerNormalization', [states, weight], { attributes })
  }

  #layer(layer: number, states: string, attend: AttentionBuilder): string {
    const { hidden, heads, headSize } = this.#shape
    const prefix = `model.layers.${layer}`
    const projections = this.#project(prefix, this.#norm(`${prefix}.input_layernorm.weight`, states))
    const mixed = attend(layer, projections)
    const attended = this.#linear(`${prefix}.self_attn.o_proj.weight`, mixed, heads * headSize, hidden)
    const between = this.builder.node('Add', [states, attended])
    const normed = this.#norm(`${prefix}.post_attention_layernorm.weight`, between)
    return this.builder.node('Add', [between, this.#feedForward(`${prefix}.mlp`, normed)])
  }

  #project(prefix: string, states: string): Projections {
    const { hidden, heads, keyValueHeads, headSize } = this.#shape
    const project = (part: string, count: number): string =>
      this.#linear(`${prefix}.self_attn.${part}_proj.weight`, states, hidden, count * headSize)
    return {
      query: project('q', heads),
      key: project('k', keyValueHeads),
      value: project('v', keyValueHeads),
    }
  }

  #feedForward(prefix: string, states: string): string {
    const { hidden, intermediate } = this.#shape
    const gate = this.#linear(`${prefix}.gate_proj.weight`, states, hidden, intermediate)
    const up = this.#linear(`${prefix}.up_proj.weight`, states, hidden, intermediate)
    const silu = this.builder.node('Mul', [gate, this.builder.node('Sigmoid', [gate])])
    const gated = this.builder.node('Mul', [silu, up])
    return this.#linear(`${prefix}.down_proj.weight`, gated, intermediate, hidden)
  }

  #rotaryCaches(): { cos: string; sin: string } {
    const { positionsMax, headSize } = this.#shape
    const tables = rotaryTables(this.#shape)
    const dims = [positionsMax, headSize / 2]
    return {
      cos: this.builder.tensor('cos_cache', 'float', dims, () => tables.cos),
      sin: this.builder.tensor('sin_cache', 'float', dims, () => tables.sin),
    }
  }

  /** The size of one dimension of a value, as an int64 scalar. */
  #sizeOf(value: string, dimension: number): string {
    const { builder } = this
    return builder.node('Gather', [builder.node('Shape', [value]), builder.integers(dimension)])
  }

  #groupedQueryAttention(): AttentionBuilder {
    const { builder } = this
    const { heads, keyValueHeads, headSize } = this.#shape
    const toInt32 = { attributes: { to: 6 } }
    const lengths = builder.node('ReduceSum', ['attention_mask', builder.integers([1])], {
      attributes: { keepdims: 0 },
    })
    const lastPositions = builder.node(
      'Cast',
      [builder.node('Sub', [lengths, builder.integers([1])])],
      toInt32,
    )
    const total = builder.node('Cast', [this.#sizeOf('attention_mask', 1)], toInt32)
    const { cos, sin } = this.#rotaryCaches()
    const attributes = {
      num_heads: heads,
      kv_num_heads: keyValueHeads,
      do_rotary: 1,
      rotary_interleaved: 0,
      scale: { float: 1 / Math.sqrt(headSize) },
    }
    return (layer, { query, key, value }) => {
      const past = [`past_key_values.${layer}.key`, `past_key_values.${layer}.value`]
      const mixed = `model.layers.${layer}.attention`
      const outputs = [mixed, `present.${layer}.key`, `present.${layer}.value`]
      const inputs = [query, key, value, ...past, lastPositions, total, cos, sin]
      builder.namedNode('GroupQueryAttention', inputs, outputs, { attributes, domain: MICROSOFT })
      return mixed
    }
  }

  /** 0 where a query may see a key, MASKED_SCORE elsewhere: [batch, 1, 1, sequence, total]. */
  #maskScores(): string {
    const { builder } = this
    const [zero, one] = [builder.integers(0), builder.integers(1)]
    const total = this.#sizeOf('attention_mask', 1)
    const past = builder.node('Sub', [total, this.#sizeOf('input_ids', 1)])
    const queries = builder.node('Unsqueeze', [
      builder.node('Range', [past, total, one]),
      builder.integers([1]),
    ])
    const causal = builder.node('LessOrEqual', [builder.node('Range', [zero, total, one]), queries])
    const present = builder.node('Cast', ['attention_mask'], { attributes: { to: 9 } })
    const visible = builder.node('And', [causal, builder.node('Unsqueeze', [present, builder.integers([1])])])
    const scores = builder.node('Where', [visible, builder.float(0), builder.float(MASKED_SCORE)])
    return builder.node('Unsqueeze', [scores, builder.integers([1, 2])])
  }

  /** Rotates [batch, heads, sequence, headSize] by the cosines and sines of its positions. */
  #rotate(states: string, cos: string, sin: string): string {
    const { builder } = this
    const half = this.#shape.headSize / 2
    const [first, second] = [`${states}_first`, `${states}_second`]
    builder.namedNode('Split', [states, builder.integers([half, half])], [first, second], {
      attributes: { axis: -1 },
    })
    const multiply = (left: string, right: string): string => builder.node('Mul', [left, right])
    const turned = [
      builder.node('Sub', [multiply(first, cos), multiply(second, sin)]),
      builder.node('Add', [multiply(second, cos), multiply(first, sin)]),
    ]
    return builder.node('Concat', turned, { attributes: { axis: -1 } })
  }

  #plainAttention(): AttentionBuilder {
    const { builder } = this
    const { heads, keyValueHeads, headSize } = this.#shape
    const caches = this.#rotaryCaches()
    const mask = this.#maskScores()
    // Reshape: 0 keeps a dimension, -1 takes what is left.
    const reshape = (value: string, dims: number[]): string =>
      builder.node('Reshape', [value, builder.integers(dims)])
    const permute = (value: string, order: number[]): string =>
      builder.node('Transpose', [value], { attributes: { perm: order } })
    const unsqueeze = (value: string, axis: number): string =>
      builder.node('Unsqueeze', [value, builder.integers([axis])])
    const atPositions = (cache: string): string =>
      unsqueeze(builder.node('Gather', [cache, 'position_ids']), 1)
    const [cos, sin] = [atPositions(caches.cos), atPositions(caches.sin)]
    const splitHeads = (value: string, count: number): string =>
      permute(reshape(value, [0, 0, count, headSize]), [0, 2, 1, 3])
    const grow = (layer: number, part: string, value: string): string => {
      const present = `present.${layer}.${part}`
      builder.namedNode('Concat', [`past_key_values.${layer}.${part}`, value], [present], {
        attributes: { axis: 2 },
      })
      return present
    }
    return (layer, projections) => {
      const query = this.#rotate(splitHeads(projections.query, heads), cos, sin)
      const keys = grow(layer, 'key', this.#rotate(splitHeads(projections.key, keyValueHeads), cos, sin))
      const values = grow(layer, 'value', splitHeads(projections.value, keyValueHeads))
      // The query heads that share a key-value head are a dimension of their own: [B, kvHeads, group, S, D].
      const grouped = reshape(query, [0, keyValueHeads, heads / keyValueHeads, -1, headSize])
      const products = builder.node('MatMul', [grouped, unsqueeze(permute(keys, [0, 1, 3, 2]), 2)])
      const scaled = builder.node('Mul', [products, builder.float(1 / Math.sqrt(headSize))])
      const shares = builder.node('Softmax', [builder.node('Add', [scaled, mask])], {
        attributes: { axis: -1 },
      })
      const mixed = reshape(builder.node('MatMul', [shares, unsqueeze(values, 2)]), [0, heads, -1, headSize])
      return reshape(permute(mixed, [0, 2, 1, 3]), [0, 0, heads * headSize])
    }
  }
}

/**
 * The graph of a Llama model: inputs input_ids, attention_mask, position_ids (plain attention only) and
 * past_key_values.{layer}.{key,value} [batch, keyValueHeads, past, headSize]; outputs logits
 * [batch, sequence, vocabulary] and present.{layer}.{key,value}. fp32.
 */
export function buildLlamaGraph(
  shape: LlamaShape,
  weights: WeightSource,
  attention: LlamaAttention,
): OnnxGraph {
  if (shape.heads % shape.keyValueHeads !== 0) {
    throw new RangeError(
      `heads (${shape.heads}) must be a multiple of keyValueHeads (${shape.keyValueHeads})`,
    )
  }
  if (shape.headSize % 2 !== 0) throw new RangeError(`headSize must be even, got ${shape.headSize}`)
  return new LlamaGraph(shape, weights).build(attention)
}

export interface SpecialTokenIds {
  pad_token_id: number
  bos_token_id: number
  eos_token_id: number
}

/** The content of the model's config.json. */
export function llamaConfig(shape: LlamaShape, specialTokenIds: SpecialTokenIds): object {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    torch_dtype: 'float32',
    hidden_act: 'silu',
    attention_bias: false,
    mlp_bias: false,
    hidden_size: shape.hidden,
    intermediate_size: shape.intermediate,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.keyValueHeads,
    head_dim: shape.headSize,
    vocab_size: shape.vocabulary,
    max_position_embeddings: shape.positionsMax,
    rope_theta: shape.ropeTheta,
    rope_scaling: null,
    rms_norm_eps: shape.normEpsilon,
    tie_word_embeddings: false,
    use_cache: true,
    ...specialTokenIds,
  }
}
