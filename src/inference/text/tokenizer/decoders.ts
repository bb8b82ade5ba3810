// Decoders of tokenizer.json: tokens become texts, which are joined.
import { fallbackByte, textToBytes } from './byte-level.ts'
import { countOf, flagOf, partsOf, patternOf, textOf, type Part } from './parts.ts'

export type Decode = (tokens: readonly string[]) => string[]

export function makeDecoder(part: Part): Decode {
  switch (part['type']) {
    case 'Sequence': {
      const steps = partsOf(part['decoders'], 'decoders').map(makeDecoder)
      return (tokens) => steps.reduce((done, step) => step(done), [...tokens])
    }
    case 'ByteLevel':
      return byteLevel
    case 'ByteFallback':
      return byteFallback
    case 'Fuse':
      return (tokens) => [tokens.join('')]
    case 'Replace': {
      const [pattern, content] = [patternOf(part), textOf(part, 'content')]
      return (tokens) => tokens.map((token) => token.replace(pattern, () => content))
    }
    case 'Strip':
      return strip(textOf(part, 'content'), countOf(part, 'start'), countOf(part, 'stop'))
    case 'Metaspace':
      return metaspace(part)
    case 'WordPiece':
      return wordPiece(textOf(part, 'prefix', '##'), flagOf(part, 'cleanup', true))
    case 'BPEDecoder':
      return bytePair(textOf(part, 'suffix', '</w>'))
    default:
      throw new Error(`the decoder ${JSON.stringify(part['type'])} is not supported`)
  }
}

function byteLevel(tokens: readonly string[]): string[] {
  const parts = tokens.map((token) => textToBytes(token) ?? Buffer.from(token))
  return [Buffer.concat(parts).toString('utf8')]
}

const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function byteFallback(tokens: readonly string[]): string[] {
  const result: string[] = []
  let bytes: number[] = []
  const flush = (): void => {
    if (bytes.length > 0) result.push(wholeText(bytes) ?? '\ufffd'.repeat(bytes.length))
    bytes = []
  }
  for (const token of tokens) {
    const byte = fallbackByte(token)
    if (byte === undefined) {
      flush()
      result.push(token)
    } else bytes.push(byte)
  }
  flush()
  return result
}

function wholeText(bytes: readonly number[]): string | undefined {
  try {
    return STRICT.decode(Uint8Array.from(bytes))
  } catch {
    return undefined
  }
}

function strip(content: string, start: number, stop: number): Decode {
  return (tokens) =>
    tokens.map((token) => {
      const characters = Array.from(token)
      let [from, to] = [0, characters.length]
      while (from < start && characters[from] === content) from += 1
      while (characters.length - to < stop && to > from && characters[to - 1] === content) to -= 1
      return characters.slice(from, to).join('')
    })
}

function metaspace(part: Part): Decode {
  const replacement = textOf(part, 'replacement', '▁')
  const isBare = part['add_prefix_space'] === false && part['prepend_scheme'] === undefined
  const marks = !isBare && textOf(part, 'prepend_scheme', 'always').toLowerCase() !== 'never'
  return (tokens) =>
    tokens.map((token, index) => token.replaceAll(replacement, index === 0 && marks ? '' : ' '))
}

/** As transformers' `clean_up_tokenization`; Rust's `cleanup` joins "do not", too. */
export function cleanUp(text: string): string {
  return text
    .replaceAll(' .', '.')
    .replaceAll(' ?', '?')
    .replaceAll(' !', '!')
    .replaceAll(' ,', ',')
    .replaceAll(" ' ", "'")
    .replaceAll(" n't", "n't")
    .replaceAll(" 'm", "'m")
    .replaceAll(" 's", "'s")
    .replaceAll(" 've", "'ve")
    .replaceAll(" 're", "'re")
}

function wordPiece(prefix: string, cleansUp: boolean): Decode {
  return (tokens) =>
    tokens.map((token, index) => {
      const continued = token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`
      const text = index === 0 ? token : continued
      return cleansUp ? cleanUp(text).replaceAll(' do not', " don't") : text
    })
}

function bytePair(suffix: string): Decode {
  return (tokens) =>
    tokens.map((token, index) => token.replaceAll(suffix, index === tokens.length - 1 ? '' : ' '))
}
