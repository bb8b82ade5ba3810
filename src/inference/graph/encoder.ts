// Reads an encoder's graph: whether it is one, and where its vectors come out.
import type { EmbeddingRecipe } from '../contract/embedding-recipe.ts'
import type { OnnxModel } from '../onnx/onnx-reader.ts'
import { unsupported } from './decoder.ts'

const STATE_OUTPUTS = ['last_hidden_state', 'token_embeddings']
/** A vector for each whole text, which some exports of sentence-transformers compute in the graph. */
const TEXT_OUTPUT = 'sentence_embedding'
const KNOWN_INPUTS = new Set(['input_ids', 'attention_mask', 'token_type_ids', 'position_ids'])

/** Whether the graph is an encoder: it reads text and generates none. */
export function isEncoder({ inputs, outputs }: OnnxModel): boolean {
  const hasCache = inputs.some(({ name }) => name.startsWith('past_key_values'))
  return !hasCache && outputs.some(({ name }) => name === TEXT_OUTPUT || STATE_OUTPUTS.includes(name))
}

export function hasTextOutput({ outputs }: OnnxModel): boolean {
  return outputs.some(({ name }) => name === TEXT_OUTPUT)
}

/** The name of the output that the pooling reads. Throws `model-unsupported`. */
export function checkEncoder(model: OnnxModel, pooling: EmbeddingRecipe['pooling']): string {
  const initialized = new Set(model.initializers.map(({ name }) => name))
  const foreign = model.inputs.find(({ name }) => !KNOWN_INPUTS.has(name) && !initialized.has(name))
  if (foreign !== undefined)
    throw unsupported(`it needs an input named ${foreign.name}, which Hearth does not provide`)
  if (pooling === 'graph') return TEXT_OUTPUT
  const output = STATE_OUTPUTS.find((name) => model.outputs.some((other) => other.name === name))
  if (output === undefined) throw unsupported(`it has none of the outputs ${STATE_OUTPUTS.join(', ')}`)
  return output
}
