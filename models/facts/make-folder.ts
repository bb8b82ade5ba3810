// Writes every file of the model folder but the weights: node models/facts/make-folder.ts [--out FOLDER]
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { llamaConfig } from '../../src/inference/graph/llama-graph.ts'
import { factsShape } from './shape.ts'
import { makeTokenizerConfig, makeTokenizerFile, SPECIAL_TOKENS } from './tokenizer-file.ts'

const { values } = parseArgs({ options: { out: { type: 'string', default: import.meta.dirname } } })

const SPECIAL_IDS = {
  pad_token_id: SPECIAL_TOKENS.indexOf('<pad>'),
  bos_token_id: SPECIAL_TOKENS.indexOf('<s>'),
  eos_token_id: SPECIAL_TOKENS.indexOf('</s>'),
}

function writeJson(name: string, content: object): void {
  mkdirSync(values.out, { recursive: true })
  writeFileSync(join(values.out, name), `${JSON.stringify(content, null, 2)}\n`)
}

const shape = factsShape()
writeJson('config.json', llamaConfig(shape, SPECIAL_IDS))
writeJson('generation_config.json', { ...SPECIAL_IDS, do_sample: false, max_new_tokens: 24 })
writeJson('tokenizer.json', makeTokenizerFile())
writeJson('tokenizer_config.json', makeTokenizerConfig(shape.positionsMax))
