// Normalizers of tokenizer.json, as Rust's `tokenizers` has them.
import { textToLevel } from './byte-level.ts'
import { flagOf, partsOf, patternOf, textOf, type Part } from './parts.ts'
import { readCharsmap } from './precompiled.ts'

export type Normalize = (text: string) => string

export function makeNormalizer(part: Part | null): Normalize {
  if (part === null) return (text) => text
  switch (part['type']) {
    case 'Sequence': {
      const steps = partsOf(part['normalizers'], 'normalizers').map(makeNormalizer)
      return (text) => steps.reduce((done, step) => step(done), text)
    }
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD': {
      const form = part['type']
      return (text) => text.normalize(form)
    }
    case 'Lowercase':
      return lowercase
    case 'Strip':
      return stripper(flagOf(part, 'strip_left', true), flagOf(part, 'strip_right', true))
    case 'StripAccents':
      return (text) => text.replace(/\p{M}/gu, '')
    case 'Prepend': {
      const prefix = textOf(part, 'prepend')
      return (text) => (text === '' ? '' : prefix + text)
    }
    case 'Replace': {
      const [pattern, content] = [patternOf(part), textOf(part, 'content').replaceAll('$', '$$$$')]
      return (text) => text.replace(pattern, content)
    }
    case 'ByteLevel':
      return textToLevel
    case 'BertNormalizer':
      return bertNormalizer(part)
    case 'Precompiled':
      return readCharsmap(textOf(part, 'precompiled_charsmap'))
    default:
      throw new Error(`the normalizer ${JSON.stringify(part['type'])} is not supported`)
  }
}

/** Character by character: Rust knows no final sigma. */
function lowercase(text: string): string {
  return Array.from(text, (character) => character.toLowerCase()).join('')
}

function stripper(isLeft: boolean, isRight: boolean): Normalize {
  return (text) => {
    const left = isLeft ? text.replace(/^\p{White_Space}+/u, '') : text
    return isRight ? trimEnd(left) : left
  }
}

function trimEnd(text: string): string {
  let end = text.length
  while (end > 0 && /\p{White_Space}/u.test(text.charAt(end - 1))) end -= 1
  return text.slice(0, end)
}

const HAN =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu

function bertNormalizer(part: Part): Normalize {
  const isLower = flagOf(part, 'lowercase', true)
  const stripsAccents = flagOf(part, 'strip_accents', isLower)
  const steps: Normalize[] = []
  if (flagOf(part, 'clean_text', true)) {
    steps.push((text) => text.replace(/[\0\ufffd]|(?![\t\n\r])[\p{Cc}\p{Cf}\p{Cn}\p{Co}]/gu, ''))
    steps.push((text) => text.replace(/\p{White_Space}/gu, ' '))
  }
  if (flagOf(part, 'handle_chinese_chars', true)) steps.push((text) => text.replace(HAN, ' $& '))
  if (stripsAccents) steps.push((text) => text.normalize('NFD').replace(/\p{Mn}/gu, ''))
  if (isLower) steps.push(lowercase)
  return (text) => steps.reduce((done, step) => step(done), text)
}
