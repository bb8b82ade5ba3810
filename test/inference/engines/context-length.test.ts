import { expect, test } from 'vitest'
import { contextLengthOf } from '../../../src/inference/contract/context-length.ts'

test.each([
  [{ model_type: 'roberta', max_position_embeddings: 18, pad_token_id: 1 }, 16],
  [{ model_type: 'xlm-roberta', max_position_embeddings: 514 }, 512],
  [{ model_type: 'bert', max_position_embeddings: 512, pad_token_id: 0 }, 512],
  [{ model_type: 'gpt2', n_positions: 32, n_ctx: 64 }, 32],
  [{ n_ctx: 48 }, 48],
  [{ seq_length: 40 }, 40],
  [{ max_seq_len: 24 }, 24],
  [{}, 2_048],
])('a model of %j takes %i tokens', (config, length) => {
  const tokenizerConfig = length === 2_048 ? {} : { model_max_length: 1e30 }
  expect(contextLengthOf({ config, tokenizerConfig }, undefined)).toBe(length)
})
