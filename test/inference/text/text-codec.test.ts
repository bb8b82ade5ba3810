import { expect, test } from 'vitest'
import { TextCodec } from '../../../src/inference/text/text-codec.ts'
import type { TokenizerConfig } from '../../../src/inference/contract/model-folder.ts'

const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false }

const parts = {
  version: '1.0',
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
}

/** Tokens `Ġ!=`, `Ġy`, `Ġand`, `Ġ'`, `social`, `'`, `Ġ,`, `Ġok`, `Ġ.` have the ids 0 to 8. */
function spacesCodec(type: 'BPE' | 'WordLevel', tokenizerConfig: TokenizerConfig): TextCodec {
  const words = ['Ġ!=', 'Ġy', 'Ġand', "Ġ'", 'social', "'", 'Ġ,', 'Ġok', 'Ġ.']
  const vocab = Object.fromEntries(words.map((word, id) => [word, id]))
  const model = type === 'BPE' ? { type, vocab, merges: [] } : { type, vocab, unk_token: 'Ġ.' }
  return new TextCodec(
    {
      tokenizer: { ...parts, model, decoder: BYTE_LEVEL },
      tokenizerConfig,
      chatTemplate: undefined,
    },
    () => 0,
  )
}

const TEXT = [0, 1, 2, 3, 4, 5, 6, 7, 8]
const KEPT = " != y and 'social' , ok ."

test('spaces before punctuation are kept where the config does not say', () => {
  expect(spacesCodec('BPE', {}).decode(TEXT)).toBe(KEPT)
  expect(spacesCodec('WordLevel', {}).decode(TEXT)).toBe(KEPT)
})

test('BPE keeps its spaces whatever the config says, unless it insists', () => {
  expect(spacesCodec('BPE', { clean_up_tokenization_spaces: true }).decode(TEXT)).toBe(KEPT)
  const insisting = {
    clean_up_tokenization_spaces: true,
    clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output: true,
  }
  expect(spacesCodec('BPE', insisting).decode(TEXT)).toBe("!= y and'social', ok.")
})
