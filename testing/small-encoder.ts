// A small embedding model in Hugging Face's layout, with random weights and the tokenizer of models/facts.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { GraphBuilder, writeModel, type OnnxGraph } from '../src/inference/onnx/onnx-writer.ts'
import { temporaryFolder } from './temporary-folder.ts'
import { randomWeights } from '../src/inference/graph/llama-weights.ts'

const FACTS = join(import.meta.dirname, '../models/facts')
const [VOCABULARY, HIDDEN, TOKENS_MAX] = [512, 48, 128]

/** One layer of attention over all tokens that the mask lets it see. */
function encoderGraph(): OnnxGraph {
  const builder = new GraphBuilder('encoder')
  const weights = randomWeights(9)
  const weight = (name: string, dims: number[]): string =>
    builder.tensor(name, 'float', dims, () => weights(name, dims))
  builder.input('input_ids', 'int64', ['batch', 'sequence'])
  builder.input('attention_mask', 'int64', ['batch', 'sequence'])
  builder.output('last_hidden_state', 'float', ['batch', 'sequence', HIDDEN])
  const states = builder.node('Gather', [weight('embed_tokens.weight', [VOCABULARY, HIDDEN]), 'input_ids'])
  const seen = builder.node('Cast', ['attention_mask'], { attributes: { to: 9 } })
  const scores = builder.node('Where', [seen, builder.float(0), builder.float(-1e9)])
  const mask = builder.node('Unsqueeze', [scores, builder.integers([1])])
  const turned = builder.node('Transpose', [states], { attributes: { perm: [0, 2, 1] } })
  const products = builder.node('Add', [builder.node('MatMul', [states, turned]), mask])
  const shares = builder.node('Softmax', [products], { attributes: { axis: -1 } })
  const mixed = builder.node('MatMul', [shares, states])
  builder.namedNode('MatMul', [mixed, weight('dense.weight', [HIDDEN, HIDDEN])], ['last_hidden_state'])
  return builder.graph
}

/** Writes the model to a new folder under the system's temporary one; returns the folder. */
export function writeSmallEncoder(): string {
  const folder = temporaryFolder('encoder')
  mkdirSync(join(folder, 'onnx'))
  writeModel(encoderGraph(), join(folder, 'onnx/model.onnx'))
  const config = { model_type: 'bert', max_position_embeddings: TOKENS_MAX, vocab_size: VOCABULARY }
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(join(FACTS, name), join(folder, name))
  return folder
}
