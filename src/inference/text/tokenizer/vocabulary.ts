// The models of tokenizer.json that look whole words up: WordLevel and WordPiece.
import { countOf, partOf, textOf, TokenizeError, type Part } from './parts.ts'

/** The ids of one piece of text. Throws `TokenizeError` for what has none. */
export type EncodePiece = (piece: string) => number[]

export interface Model {
  vocabulary: ReadonlyMap<string, number>
  encode: EncodePiece
}

export function readVocabulary(part: Part): Map<string, number> {
  const entries = Object.entries(partOf(part['vocab'], 'the vocabulary'))
  for (const [token, id] of entries) {
    if (!Number.isSafeInteger(id) || (id as number) < 0)
      throw new Error(`the token ${JSON.stringify(token)} has no id`)
  }
  return new Map(entries as [string, number][])
}

function unknown(token: string, vocabulary: ReadonlyMap<string, number>, piece: string): number {
  const id = vocabulary.get(token)
  if (id === undefined) {
    throw new TokenizeError(
      `${JSON.stringify(piece)} is not in the vocabulary, which has no ${JSON.stringify(token)} either`,
    )
  }
  return id
}

export function wordLevel(part: Part): Model {
  const vocabulary = readVocabulary(part)
  const token = textOf(part, 'unk_token')
  return { vocabulary, encode: (piece) => [vocabulary.get(piece) ?? unknown(token, vocabulary, piece)] }
}

export function wordPiece(part: Part): Model {
  const vocabulary = readVocabulary(part)
  const token = textOf(part, 'unk_token', '[UNK]')
  const prefix = textOf(part, 'continuing_subword_prefix', '##')
  const charactersMax = countOf(part, 'max_input_chars_per_word', 100)
  const encode = (piece: string): number[] => {
    const characters = Array.from(piece)
    const ids: number[] = []
    let start = 0
    if (characters.length > charactersMax) return [unknown(token, vocabulary, piece)]
    while (start < characters.length) {
      const found = longestFrom(characters, start, vocabulary, start > 0 ? prefix : '')
      if (found === undefined) return [unknown(token, vocabulary, piece)]
      ids.push(found.id)
      start = found.end
    }
    return ids
  }
  return { vocabulary, encode }
}

function longestFrom(
  characters: readonly string[],
  start: number,
  vocabulary: ReadonlyMap<string, number>,
  prefix: string,
): { id: number; end: number } | undefined {
  for (let end = characters.length; end > start; end -= 1) {
    const id = vocabulary.get(prefix + characters.slice(start, end).join(''))
    if (id !== undefined) return { id, end }
  }
  return undefined
}
