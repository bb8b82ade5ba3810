// Reads a decoder's graph: the sizes of its cache and vocabulary, and its kind of attention.
import { HearthError } from '../../base/errors.ts'
import type { ModelNode, ModelValue, OnnxModel } from '../onnx/onnx-reader.ts'

/**
 * `grouped-query`: onnxruntime's GroupQueryAttention. It takes a row's keys to be the first of its past,
 * as many as its mask has ones, and puts new ones right after them. `plain`: basic operators, which see
 * every key that the mask lets them, and put new ones after the whole past.
 */
export type AttentionKind = 'grouped-query' | 'plain'

/** The sizes of a decoder's cache of keys and values. */
export interface KvShape {
  layers: number
  keyValueHeads: number
  headSize: number
}

export interface Decoder {
  kvShape: KvShape
  vocabularySize: number
  attention: AttentionKind
  /** onnx.TensorProto.DataType of the cache: FLOAT or FLOAT16. */
  cacheType: number
}

export const FLOAT = 1
export const FLOAT16 = 10

const KNOWN_INPUTS = new Set(['input_ids', 'attention_mask', 'position_ids', 'num_logits_to_keep'])
const PAST_INPUT = /^past_key_values\.(\d+)\.(?:key|value)$/

/** @param vocabularyDefault for a graph that does not tell. Throws `model-unsupported`, saying what is missing. */
export function describeDecoder(model: OnnxModel, vocabularyDefault: number | undefined): Decoder {
  const pasts = model.inputs.filter(({ name }) => PAST_INPUT.test(name))
  const [, keyValueHeads, , headSize] = pasts[0]?.dims ?? []
  if (typeof keyValueHeads !== 'number' || typeof headSize !== 'number') {
    throw unsupported('it has no past_key_values inputs of known size')
  }
  if (pasts.some(({ dims }) => dims[1] !== keyValueHeads || dims[3] !== headSize)) {
    throw unsupported('its layers have caches of different sizes')
  }
  if (headSize % 2 !== 0) throw unsupported(`its heads have ${headSize} elements, which is odd`)
  refuseForeignInputs(model)
  return {
    kvShape: { layers: pasts.length / 2, keyValueHeads, headSize },
    vocabularySize: vocabularyOf(model, vocabularyDefault),
    attention: model.nodes.some(isGroupedQuery) ? 'grouped-query' : 'plain',
    cacheType: cacheTypeOf(pasts),
  }
}

export function isGroupedQuery({ operator }: ModelNode): boolean {
  return operator === 'GroupQueryAttention'
}

export function unsupported(why: string): HearthError {
  return new HearthError('model-unsupported', `Hearth cannot run this model as a decoder: ${why}`)
}

function refuseForeignInputs({ inputs, initializers }: OnnxModel): void {
  const initialized = new Set(initializers.map(({ name }) => name))
  for (const { name } of inputs) {
    if (KNOWN_INPUTS.has(name) || PAST_INPUT.test(name) || initialized.has(name)) continue
    throw unsupported(`it needs an input named ${name}, which Hearth does not provide`)
  }
}

function vocabularyOf({ outputs }: OnnxModel, vocabularyDefault: number | undefined): number {
  const size = outputs.find(({ name }) => name === 'logits')?.dims[2]
  if (typeof size === 'number') return size
  if (size === undefined || vocabularyDefault === undefined)
    throw unsupported('the size of its logits is not known')
  return vocabularyDefault
}

function cacheTypeOf(pasts: readonly ModelValue[]): number {
  const [type, ...others] = new Set(pasts.map((past) => past.type))
  if ((type !== FLOAT && type !== FLOAT16) || others.length > 0)
    throw unsupported('its cache does not hold floats')
  return type
}
