import { expect, test } from 'vitest'
import { TextCodec } from '../../../src/inference/text/text-codec.ts'
import { StopStrings } from '../../../src/inference/sampling/stop-strings.ts'
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

test.each([
  [' !=', ''],
  [' ,', " != y and 'social'"],
])('the stop string "%s" is found where its space is', (stop, before) => {
  const codec = spacesCodec('BPE', { clean_up_tokenization_spaces: true })
  const stops = new StopStrings([stop], (tokens) => codec.decode(tokens))
  for (const token of TEXT) if (stops.add(token)) break
  expect(stops.textBeforeStop).toBe(before)
})

const chars = (text: string): Record<string, number> =>
  Object.fromEntries(Array.from(text, (character, id) => [character, id]))

function codecOf(tokenizer: object, tokenizerConfig: TokenizerConfig = {}, chatTemplate?: string): TextCodec {
  return new TextCodec({ tokenizer: { ...parts, ...tokenizer }, tokenizerConfig, chatTemplate }, () => 0)
}

const SPELLED = { type: 'BPE', vocab: chars('abcx</s> '), merges: [] }

test('a special token that only the tokenizer config declares is one token, and ends a text', () => {
  const model = { ...SPELLED, vocab: { ...SPELLED.vocab, '</s>': 9, '<pad>': 10 } }
  const codec = codecOf({ model }, { eos_token: '</s>', additional_special_tokens: ['<pad>'] })
  expect(codec.encodeText('a</s>b<pad>')).toEqual([0, 9, 1, 10])
  expect(codec.decode([0, 9, 10])).toBe('a')
  expect(codec.endToken).toBe(9)
})

test('a special token that the vocabulary lacks has the id after all others', () => {
  expect(codecOf({ model: SPELLED }, { eos_token: '<end>' }).encodeText('a<end>')).toEqual([0, 9])
})

test('an unknown word of a vocabulary without unknown token is an error of its request', () => {
  const model = { type: 'WordLevel', vocab: { hello: 0 }, unk_token: '<unk>' }
  const codec = codecOf({ model, pre_tokenizer: { type: 'Whitespace' } })
  expect(codec.encodeText('hello')).toEqual([0])
  expect(() => codec.encodeText('hello zebra')).toThrow('"zebra" is not in the vocabulary')
})

test('an unknown word is the unknown token where the vocabulary has one', () => {
  const model = { type: 'WordLevel', vocab: { '<unk>': 0, hello: 1 }, unk_token: '<unk>' }
  const codec = codecOf({ model, pre_tokenizer: { type: 'Whitespace' } })
  expect(codec.encodeText('hello zebra')).toEqual([1, 0])
})

const METASPACE = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true }
const UNIGRAM = { type: 'Unigram', unk_id: null, byte_fallback: false }
const PIECES = [
  ['▁', -2],
  ['▁hello', -1],
]
const WORDPIECE = {
  type: 'WordPiece',
  unk_token: '[UNK]',
  continuing_subword_prefix: '##',
  vocab: { hello: 0 },
}

test.each([
  ['Unigram', { model: { ...UNIGRAM, vocab: PIECES }, pre_tokenizer: METASPACE }],
  ['WordPiece', { model: WORDPIECE, pre_tokenizer: { type: 'BertPreTokenizer' } }],
])('an unknown word of %s without unknown token is an error of its request', (_type, tokenizer) => {
  const codec = codecOf(tokenizer)
  expect(codec.encodeText('hello')).toHaveLength(1)
  expect(() => codec.encodeText('hello zebra')).toThrow(/cannot tokenize the prompt/)
  expect(codec.encodeText('hello')).toHaveLength(1)
})

test('truncation and padding sections do not change a prompt', () => {
  const truncation = { direction: 'Right', max_length: 2, strategy: 'LongestFirst', stride: 0 }
  const padding = { strategy: { Fixed: 6 }, direction: 'Right', pad_id: 0, pad_type_id: 0, pad_token: 'a' }
  expect(codecOf({ model: SPELLED, truncation, padding }).encodeText('abcx')).toEqual([0, 1, 2, 3])
})

test('ids outside the table are no text', () => {
  const codec = spacesCodec('BPE', {})
  expect(codec.decode([99, 1, 1_000])).toBe(' y')
  expect(codec.pieceOf(99)).toEqual({ text: '', bytes: new Uint8Array() })
})

test('a token of log-probabilities keeps its leading space, and has its bytes where it is part of a character', () => {
  expect(spacesCodec('BPE', {}).pieceOf(0)).toEqual({
    text: ' !=',
    bytes: new Uint8Array(Buffer.from(' !=')),
  })
  const part = codecOf({ model: { type: 'BPE', vocab: { Ã: 0, '©': 1 }, merges: [] }, decoder: BYTE_LEVEL })
  expect(part.pieceOf(0)).toEqual({ text: '\ufffd', bytes: Uint8Array.of(0xc3) })
  const replace = { type: 'Replace', pattern: { String: '▁' }, content: ' ' }
  const strip = { type: 'Strip', content: ' ', start: 1, stop: 0 }
  const decoders = [replace, { type: 'ByteFallback' }, { type: 'Fuse' }, strip]
  const model = { type: 'BPE', vocab: { a: 0, '▁hi': 1, '<0xF0>': 2 }, merges: [] }
  const llama = codecOf({ model, decoder: { type: 'Sequence', decoders } })
  expect(llama.decode([1])).toBe('hi')
  expect(llama.pieceOf(1).text).toBe(' hi')
  expect(llama.pieceOf(2).bytes).toEqual(Uint8Array.of(0xf0))
})

test('a kind of tokenizer that is not supported is refused by name', () => {
  const decoder = { type: 'CTC', pad_token: '<pad>', word_delimiter_token: '|', cleanup: true }
  expect(() => codecOf({ model: SPELLED, decoder })).toThrow('the decoder "CTC" is not supported')
})

test('a chat template has no tools, and strips only what it says', () => {
  const template = '{% if tools is not none %}xxx{% endif %}{{ messages[0].content.lstrip("x") }}'
  const codec = codecOf({ model: SPELLED }, {}, template)
  const messages = [{ role: 'user', content: 'xx  a' }]
  expect(codec.encode({ kind: 'chat', messages, templateVariables: {} })).toEqual([8, 8, 0])
})
