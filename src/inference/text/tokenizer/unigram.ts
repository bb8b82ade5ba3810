// SentencePiece's unigram model: the likeliest way to cut a piece, as Rust's `tokenizers` finds it.
import { fallbackToken } from './byte-level.ts'
import { flagOf, TokenizeError, type Part } from './parts.ts'
import type { Model } from './vocabulary.ts'

/** The cost of an unknown character above that of the least likely token. */
const UNKNOWN_PENALTY = 10

interface Node {
  children: Map<string, Node>
  id: number | undefined
}

export function unigram(part: Part): Model {
  const { vocab } = part
  if (!Array.isArray(vocab)) throw new Error('Unigram: vocab is not a list')
  const entries = vocab as [string, number][]
  const vocabulary = new Map<string, number>()
  const root: Node = { children: new Map(), id: undefined }
  for (const [id, entry] of entries.entries()) {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string' || typeof entry[1] !== 'number') {
      throw new Error(`Unigram: token ${id} is not a pair of text and score`)
    }
    vocabulary.set(entry[0], id)
    insert(root, entry[0], id)
  }
  const unknownId = typeof part['unk_id'] === 'number' ? part['unk_id'] : undefined
  const scores = entries.map(([, score]) => score)
  const unknownScore = scores.reduce((least, score) => Math.min(least, score), Infinity) - UNKNOWN_PENALTY
  const cut = new Lattice(root, scores, { id: unknownId, score: unknownScore })
  const hasFallback = flagOf(part, 'byte_fallback', false)
  const encode = (piece: string): number[] =>
    cut.cut(piece).flatMap((token) => {
      const id = vocabulary.get(token)
      if (id !== undefined) return [id]
      const bytes = hasFallback
        ? Array.from(Buffer.from(token), (byte) => vocabulary.get(fallbackToken(byte)))
        : [undefined]
      if (bytes.every((byte) => byte !== undefined)) return bytes
      return [unknownId ?? missing(token)]
    })
  return { vocabulary, encode }
}

function missing(token: string): never {
  throw new TokenizeError(`${JSON.stringify(token)} is not in the vocabulary, which has no unknown token`)
}

function insert(root: Node, token: string, id: number): void {
  let node = root
  for (const character of token) {
    let child = node.children.get(character)
    if (child === undefined) {
      child = { children: new Map(), id: undefined }
      node.children.set(character, child)
    }
    node = child
  }
  node.id = id
}

interface Best {
  /** Undefined for an unknown character where the vocabulary has no token for one: an error only on the best way. */
  id: number | undefined
  score: number
  start: number
}

class Lattice {
  readonly #root: Node
  readonly #scores: readonly number[]
  readonly #unknown: { id: number | undefined; score: number }

  constructor(root: Node, scores: readonly number[], unknown: { id: number | undefined; score: number }) {
    this.#root = root
    this.#scores = scores
    this.#unknown = unknown
  }

  cut(piece: string): string[] {
    const characters = Array.from(piece)
    const best: (Best | undefined)[] = Array.from({ length: characters.length + 1 })
    for (let start = 0; start < characters.length; start += 1) {
      const sofar = best[start]?.score ?? 0
      if (!this.#offerTokens(characters, start, sofar, best)) {
        const score = this.#unknown.score + sofar
        const known = best[start + 1]
        if (known !== undefined && score <= known.score) continue
        best[start + 1] = { id: this.#unknown.id, score, start }
      }
    }
    return this.#backwards(characters, best)
  }

  /** Whether one of them is of a single character. */
  #offerTokens(
    characters: readonly string[],
    start: number,
    sofar: number,
    best: (Best | undefined)[],
  ): boolean {
    let hasSingle = false
    let node: Node | undefined = this.#root
    for (let end = start; end < characters.length; end += 1) {
      node = node.children.get(characters[end] ?? '')
      if (node === undefined) break
      if (node.id === undefined) continue
      offer(best, end + 1, { id: node.id, score: (this.#scores[node.id] ?? 0) + sofar, start })
      if (end === start) hasSingle = true
    }
    return hasSingle
  }

  /** Unknown neighbours are one token. */
  #backwards(characters: readonly string[], best: readonly (Best | undefined)[]): string[] {
    const tokens: string[] = []
    let unknownEnd: number | undefined
    let end = characters.length
    const flush = (start: number): void => {
      if (unknownEnd !== undefined) tokens.push(characters.slice(start, unknownEnd).join(''))
      unknownEnd = undefined
    }
    while (end > 0) {
      const { id, start } = best[end] as Best
      if (id === this.#unknown.id) unknownEnd ??= end
      else {
        flush(end)
        tokens.push(characters.slice(start, end).join(''))
      }
      end = start
    }
    flush(0)
    return tokens.toReversed()
  }
}

function offer(best: (Best | undefined)[], end: number, candidate: Best): void {
  const known = best[end]
  if (known === undefined || candidate.score > known.score) best[end] = candidate
}
