// A small embedding model in Hugging Face's layout, with random weights and the tokenizer of models/facts.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
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

/** Files of sentence-transformers beside the model, by their paths: texts as they are, other values as JSON. */
export type ModuleFiles = Readonly<Record<string, unknown>>

/** The mean of the tokens' vectors, scaled to length 1. */
const MEAN: ModuleFiles = {
  'modules.json': ['Transformer', 'Pooling', 'Normalize'].map((type, index) => ({
    idx: index,
    path: index === 0 ? '' : `${index}_${type}`,
    type: `sentence_transformers.models.${type}`,
  })),
  '1_Pooling/config.json': { word_embedding_dimension: HIDDEN, pooling_mode_mean_tokens: true },
}

/** Writes the model to a new folder under the system's temporary one; returns the folder. */
export function writeSmallEncoder(modules: ModuleFiles = MEAN): string {
  const folder = temporaryFolder('encoder')
  mkdirSync(join(folder, 'onnx'))
  writeModel(encoderGraph(), join(folder, 'onnx/model.onnx'))
  const config = { model_type: 'bert', max_position_embeddings: TOKENS_MAX, vocab_size: VOCABULARY }
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(join(FACTS, name), join(folder, name))
  writeModules(folder, modules)
  return folder
}

export function writeModules(folder: string, modules: ModuleFiles): void {
  for (const [name, content] of Object.entries(modules)) {
    const path = join(folder, name)
    mkdirSync(dirname(path), { recursive: true })
    const isRaw = typeof content === 'string' || content instanceof Uint8Array
    writeFileSync(path, isRaw ? content : JSON.stringify(content))
  }
}

/** A safetensors file of fp32, as written by sentence-transformers. */
export function encodeSafetensors(
  tensors: Readonly<Record<string, { shape: number[]; data: number[] }>>,
): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } }
  const parts: Buffer[] = []
  let end = 0
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    const bytes = Buffer.from(Float32Array.from(data).buffer)
    header[name] = { dtype: 'F32', shape, data_offsets: [end, end + bytes.byteLength] }
    parts.push(bytes)
    end += bytes.byteLength
  }
  const json = Buffer.from(JSON.stringify(header))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(json.byteLength))
  return Buffer.concat([prefix, json, ...parts])
}
