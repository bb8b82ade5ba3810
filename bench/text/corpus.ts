// Tokenizers of the usual kinds, learnt from this repository's prose, and a chat template of the usual kind.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { seededRandom, type Random } from '../../src/base/random.ts'
import { bytesToText } from '../../src/inference/text/tokenizer/byte-level.ts'

const ROOT = join(import.meta.dirname, '../..')
/** The pattern of Llama 3; Qwen's differs in the digits. */
const PATTERN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
const SPLIT = new RegExp(PATTERN, 'gu')

/** The repository's prose. */
export function prose(): string {
  const docs = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md'))
    .toSorted()
  return docs.map((path) => readFileSync(join(ROOT, 'docs', path), 'utf8')).join('\n')
}

const MERGES = 8_000
/** Pairs that are joined between two counts of all pairs. */
const BATCH = 64

/** Symbols of a word, and how often the word occurs. */
interface Word {
  symbols: string[]
  times: number
}

/** Joins the most frequent pairs of symbols, as byte-pair encoding is trained. */
function learnMerges(words: readonly string[], symbolsOf: (word: string) => string[]): [string, string][] {
  const counts = new Map<string, number>()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  const pieces: Word[] = [...counts].map(([word, times]) => ({ symbols: symbolsOf(word), times }))
  const merges: [string, string][] = []
  while (merges.length < MERGES) {
    const pairs = countPairs(pieces)
    const best = [...pairs].sort(([a, left], [b, right]) => right - left || (a < b ? -1 : 1)).slice(0, BATCH)
    if (best.length === 0) break
    for (const [pair] of best) {
      const [left = '', right = ''] = pair.split('\n')
      merges.push([left, right])
      for (const { symbols } of pieces) joinPair(symbols, left, right)
    }
  }
  return merges
}

function countPairs(pieces: readonly Word[]): Map<string, number> {
  const pairs = new Map<string, number>()
  for (const { symbols, times } of pieces) {
    for (let index = 1; index < symbols.length; index += 1) {
      const pair = `${symbols[index - 1]}\n${symbols[index]}`
      pairs.set(pair, (pairs.get(pair) ?? 0) + times)
    }
  }
  return pairs
}

function joinPair(symbols: string[], left: string, right: string): void {
  for (let index = symbols.indexOf(left); index !== -1; index = symbols.indexOf(left, index + 1)) {
    if (symbols[index + 1] === right) symbols.splice(index, 2, left + right)
  }
}

const SPECIAL = ['<|begin_of_text|>', '<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>']

function vocabularyOf(tokens: Iterable<string>): Record<string, number> {
  return Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id]))
}

function fileOf(vocab: Record<string, number>, parts: object): object {
  const first = Object.keys(vocab).length
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
  const added = SPECIAL.map((content, index) => ({ id: first + index, content, ...plain }))
  const none = { version: '1.0', truncation: null, padding: null, normalizer: null, post_processor: null }
  return { ...none, added_tokens: added, pre_tokenizer: null, ...parts }
}

const BPE = {
  type: 'BPE',
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
}

/** As Llama 3's and Qwen's: a pattern cuts words, which are bytes. */
export function byteLevelTokenizer(text: string): object {
  const alphabet = Array.from({ length: 256 }, (_, byte) => bytesToText(Uint8Array.of(byte)))
  const words = text.match(SPLIT) ?? []
  const merges = learnMerges(words, (word) => Array.from(Buffer.from(word), (byte) => alphabet[byte] ?? ''))
  const vocab = vocabularyOf([...alphabet, ...merges.map((pair) => pair.join(''))])
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }
  const split = { type: 'Split', pattern: { Regex: PATTERN }, behavior: 'Isolated', invert: false }
  return fileOf(vocab, {
    pre_tokenizer: { type: 'Sequence', pretokenizers: [split, bytes] },
    decoder: { ...bytes, use_regex: true },
    model: { ...BPE, vocab, merges: merges.map((pair) => pair.join(' ')) },
  })
}

/** As Llama 2's and Mistral's: spaces are ▁, and the whole text is one word. */
export function sentencePieceTokenizer(text: string): object {
  const words = text.replaceAll(' ', '▁').match(/▁?[^▁\n]+|▁+|\n+/g) ?? []
  const merges = learnMerges(words, (word) => Array.from(word))
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  )
  const joined = merges.map((pair) => pair.join(''))
  const vocab = vocabularyOf(['<unk>', ...bytes, ...new Set(words.join('')), '▁', ...joined])
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }
  return fileOf(vocab, {
    normalizer: { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, replace] },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
      ],
    },
    model: {
      ...BPE,
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      vocab,
      merges: merges.map((pair) => pair.join(' ')),
    },
  })
}

/** Llama 3's, without its tools. */
export const CHAT_TEMPLATE: string =
  "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"

export interface Message {
  role: string
  content: string
}

/** Every so many words of a chat, one occurs nowhere else: a name, a number, a word of code. */
const RARE_EVERY = 10

/** Chats that differ, of `messages` stretches of prose each. */
export function chats(
  text: string,
  {
    count,
    messages,
    characters,
    seed,
  }: { count: number; messages: number; characters: number; seed: number },
): Message[][] {
  const random = seededRandom(seed)
  const paragraphs = text.replace(/\s+/g, ' ')
  const message = (index: number): Message => {
    const at = Math.floor(random.next() * (paragraphs.length - characters))
    const words = paragraphs.slice(at, at + characters).split(' ')
    const content = words.map((word, place) => (place % RARE_EVERY === 4 ? rareWord(random) : word)).join(' ')
    return { role: index % 2 === 0 ? 'user' : 'assistant', content }
  }
  return Array.from({ length: count }, () => Array.from({ length: messages }, (_, index) => message(index)))
}

function rareWord(random: Random): string {
  const length = 4 + Math.floor(random.next() * 6)
  return Array.from({ length }, () => String.fromCharCode(97 + Math.floor(random.next() * 26))).join('')
}
