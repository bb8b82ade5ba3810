// A model folder with random weights: as fast and as large as a trained one of its shape.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildLlamaGraph } from '../../src/inference/graph/llama-graph.ts'
import { randomWeights, type LlamaShape } from '../../src/inference/graph/llama-weights.ts'
import { writeModel } from '../../src/inference/onnx/onnx-writer.ts'

const FACTS = join(import.meta.dirname, '../../models/facts')

/** Writes the folder with the shipped model's tokenizer, its vocabulary filled up to the shape's. */
export function writeRandomContext(folder: string, shape: LlamaShape, seed = 1): void {
  mkdirSync(join(folder, 'onnx'), { recursive: true })
  for (const file of ['generation_config.json', 'tokenizer_config.json']) {
    copyFileSync(join(FACTS, file), join(folder, file))
  }
  const config = readJson('config.json')
  writeJson(folder, 'config.json', {
    ...config,
    hidden_size: shape.hidden,
    intermediate_size: shape.intermediate,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.keyValueHeads,
    head_dim: shape.headSize,
    vocab_size: shape.vocabulary,
    max_position_embeddings: shape.positionsMax,
  })
  const tokenizer = readJson('tokenizer.json') as { model: { vocab: Record<string, number> } }
  const { vocab } = tokenizer.model
  for (let id = Object.keys(vocab).length; id < shape.vocabulary; id += 1) vocab[`<${id}>`] = id
  writeJson(folder, 'tokenizer.json', tokenizer)
  const graph = buildLlamaGraph(shape, randomWeights(seed), 'grouped-query')
  writeModel(graph, join(folder, 'onnx/model.onnx'), { externalData: true })
}

function readJson(name: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(FACTS, name), 'utf8')) as Record<string, unknown>
}

function writeJson(folder: string, name: string, value: unknown): void {
  writeFileSync(join(folder, name), JSON.stringify(value))
}
