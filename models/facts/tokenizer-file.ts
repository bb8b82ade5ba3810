// The tokenizer: one token per word, with the space before it (written ▁) a part of the token, so that
// decoding needs no rules for spaces. It is a WordPiece model without continuation pieces: a word is in the
// vocabulary whole, or it is <unk>.
import { CONTINENTS, COUNTRIES, ELEMENTS, NUMBER_MAX } from './facts.ts'
import { EVIDENCE, SYSTEM_PROMPTS, TEMPLATES } from './templates.ts'

export const SPECIAL_TOKENS: readonly string[] = [
  '<pad>',
  '<s>',
  '</s>',
  '<unk>',
  '<|system|>',
  '<|user|>',
  '<|assistant|>',
]

/** Marks a word that a space precedes, or that a text begins with. */
const SPACE = '▁'

/** Stands for a template's slot while its other words are collected. */
const SLOT = 'slot'

/** A word, or one other character, with its space; a space before nothing matches nothing, and is dropped. */
const PIECE = "'s|▁?[\\p{L}\\p{M}\\p{N}]+|▁?[^\\p{L}\\p{M}\\p{N}▁]"

export const CHAT_TEMPLATE: string =
  '{{ bos_token }}' +
  "{% for message in messages %}{{ '<|' + message['role'] + '|>' + (message['content'] | trim) }}" +
  "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"

function splitPieces(text: string): string[] {
  const normalized = SPACE + text.normalize('NFC').replace(/\s+/g, SPACE)
  return normalized.match(new RegExp(PIECE, 'gu')) ?? []
}

/** Every text whose words the model must know. */
function knownTexts(): string[] {
  return [
    ...[...Object.values(TEMPLATES).flat(), ...Object.values(EVIDENCE)].map((text) =>
      text.replace(/\{\w+\}/g, SLOT),
    ),
    ...SYSTEM_PROMPTS,
    ...COUNTRIES.flatMap(({ name, capital }) => [name, capital]),
    ...CONTINENTS,
    ...ELEMENTS.flatMap(({ name, symbol }) => [name, symbol]),
    ...Array.from({ length: NUMBER_MAX + 1 }, (_, number) => String(number)),
    'yes no unknown',
  ]
}

/** Token ids by token: the special tokens first, then the known words in code-unit order. */
export function makeVocabulary(): Record<string, number> {
  const words = new Set(knownTexts().flatMap(splitPieces))
  words.delete(SPACE + SLOT)
  const tokens = [...SPECIAL_TOKENS, ...[...words].sort()]
  return Object.fromEntries(tokens.map((token, id) => [token, id]))
}

/** The content of tokenizer.json, as Hugging Face's tokenizers write it. */
export function makeTokenizerFile(): object {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL_TOKENS.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: SPACE },
        { type: 'Prepend', prepend: SPACE },
      ],
    },
    pre_tokenizer: { type: 'Split', pattern: { Regex: PIECE }, behavior: 'Removed', invert: true },
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'WordPiece',
      unk_token: '<unk>',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: makeVocabulary(),
    },
  }
}

/** The content of tokenizer_config.json. */
export function makeTokenizerConfig(positionsMax: number): object {
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    model_max_length: positionsMax,
    bos_token: '<s>',
    eos_token: '</s>',
    unk_token: '<unk>',
    pad_token: '<pad>',
    additional_special_tokens: ['<|system|>', '<|user|>', '<|assistant|>'],
    clean_up_tokenization_spaces: false,
    chat_template: CHAT_TEMPLATE,
  }
}
