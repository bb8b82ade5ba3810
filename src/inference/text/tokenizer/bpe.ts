// Byte-pair encoding, as Rust's `tokenizers` does it.
import { fallbackToken } from './byte-level.ts'
import { flagOf, textOf, TokenizeError, type Part } from './parts.ts'
import { readVocabulary, type Model } from './vocabulary.ts'

/** Words whose ids are remembered, and the longest of them, characters. */
const CACHE_WORDS = 10_000
const CACHE_CHARACTERS = 64

interface Merge {
  rank: number
  id: number
}

/** One symbol of a word: a list linked by places, so that a merge moves nothing. */
interface Symbols {
  ids: Int32Array
  previous: Int32Array
  next: Int32Array
}

export function bytePair(part: Part): Model {
  const bpe = new BytePair(part)
  return { vocabulary: bpe.vocabulary, encode: (piece) => bpe.encode(piece) }
}

class BytePair {
  readonly vocabulary: Map<string, number>
  readonly #merges = new Map<number, Merge>()
  readonly #unknown: string | undefined
  readonly #prefix: string
  readonly #suffix: string
  readonly #fusesUnknown: boolean
  readonly #hasByteFallback: boolean
  readonly #ignoresMerges: boolean
  readonly #cache = new Map<string, number[]>()

  constructor(part: Part) {
    if (typeof part['dropout'] === 'number' && part['dropout'] > 0)
      throw new Error('BPE with dropout is for training')
    this.vocabulary = readVocabulary(part)
    this.#unknown =
      part['unk_token'] === null || part['unk_token'] === undefined ? undefined : textOf(part, 'unk_token')
    this.#prefix = textOf(part, 'continuing_subword_prefix', '')
    this.#suffix = textOf(part, 'end_of_word_suffix', '')
    this.#fusesUnknown = flagOf(part, 'fuse_unk', false)
    this.#hasByteFallback = flagOf(part, 'byte_fallback', false)
    this.#ignoresMerges = flagOf(part, 'ignore_merges', false)
    if (!Array.isArray(part['merges'])) throw new Error('BPE: merges is not a list')
    for (const [rank, merge] of part['merges'].entries()) this.#addMerge(merge, rank)
  }

  encode(word: string): number[] {
    const cached = this.#cache.get(word)
    if (cached !== undefined) return cached
    const whole = this.#ignoresMerges ? this.vocabulary.get(word) : undefined
    const ids = whole === undefined ? this.#merge(this.#symbols(word)) : [whole]
    if (word.length <= CACHE_CHARACTERS) {
      if (this.#cache.size >= CACHE_WORDS) this.#cache.clear()
      this.#cache.set(word, ids)
    }
    return ids
  }

  #addMerge(merge: unknown, rank: number): void {
    const pair = typeof merge === 'string' ? merge.split(' ') : merge
    const [left, right] = Array.isArray(pair) && pair.length === 2 ? (pair as string[]) : []
    if (typeof left !== 'string' || typeof right !== 'string')
      throw new Error(`BPE: merge ${rank} is not a pair`)
    const joined = left + (right.startsWith(this.#prefix) ? right.slice(this.#prefix.length) : right)
    const ids = [left, right, joined].map((token) => this.vocabulary.get(token))
    const [leftId, rightId, id] = ids
    if (leftId === undefined || rightId === undefined || id === undefined) {
      throw new Error(`BPE: merge ${rank} makes or takes a token that is not in the vocabulary`)
    }
    this.#merges.set(pairKey(leftId, rightId), { rank, id })
  }

  #symbols(word: string): number[] {
    const ids: number[] = []
    let isUnknown = false
    const characters = Array.from(word)
    for (const [index, character] of characters.entries()) {
      const marked =
        (index > 0 ? this.#prefix : '') + character + (index === characters.length - 1 ? this.#suffix : '')
      const known = this.vocabulary.get(marked)
      const found = known === undefined ? this.#fallback(marked) : [known]
      const isFused = found === undefined && isUnknown && this.#fusesUnknown
      if (found !== undefined) ids.push(...found)
      else if (this.#unknown !== undefined && !isFused) ids.push(this.#unknownId())
      isUnknown = found === undefined
    }
    return ids
  }

  #fallback(character: string): number[] | undefined {
    if (!this.#hasByteFallback) return undefined
    const ids = Array.from(Buffer.from(character), (byte) => this.vocabulary.get(fallbackToken(byte)))
    return ids.every((id) => id !== undefined) ? ids : undefined
  }

  #unknownId(): number {
    const id = this.#unknown === undefined ? undefined : this.vocabulary.get(this.#unknown)
    if (id === undefined)
      throw new TokenizeError(`the unknown token ${this.#unknown} is not in the vocabulary`)
    return id
  }

  #merge(start: readonly number[]): number[] {
    const { ids, previous, next } = link(start)
    const queue = new PairQueue()
    const offer = (place: number): void => {
      const after = next[place] ?? -1
      const merge = after < 0 ? undefined : this.#merges.get(pairKey(ids[place] ?? 0, ids[after] ?? 0))
      if (merge !== undefined) queue.push(merge.rank, place, merge.id)
    }
    for (let place = 0; place + 1 < ids.length; place += 1) offer(place)
    for (let top = queue.pop(); top !== undefined; top = queue.pop()) {
      const { place, id } = top
      const after = next[place] ?? -1
      if (ids[place] === -1 || after < 0) continue
      if (this.#merges.get(pairKey(ids[place] ?? 0, ids[after] ?? 0))?.id !== id) continue
      ids[place] = id
      ids[after] = -1
      const beyond = next[after] ?? -1
      next[place] = beyond
      if (beyond >= 0) previous[beyond] = place
      const before = previous[place] ?? -1
      if (before >= 0) offer(before)
      offer(place)
    }
    return [...ids].filter((id) => id !== -1)
  }
}

function pairKey(left: number, right: number): number {
  return left * 2 ** 26 + right
}

function link(start: readonly number[]): Symbols {
  const previous = Int32Array.from(start, (_, place) => place - 1)
  const next = Int32Array.from(start, (_, place) => (place + 1 < start.length ? place + 1 : -1))
  return { ids: Int32Array.from(start), previous, next }
}

interface Entry {
  rank: number
  place: number
  id: number
}

/** A heap: the lowest rank first, of equals the leftmost. */
class PairQueue {
  readonly #heap: Entry[] = []

  push(rank: number, place: number, id: number): void {
    const heap = this.#heap
    heap.push({ rank, place, id })
    let child = heap.length - 1
    while (child > 0) {
      const parent = (child - 1) >> 1
      if (!this.#swapIfBefore(child, parent)) return
      child = parent
    }
  }

  pop(): Entry | undefined {
    const heap = this.#heap
    const [top] = heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return top
    heap[0] = last
    let parent = 0
    for (;;) {
      const left = parent * 2 + 1
      if (left >= heap.length) return top
      const child = left + 1 < heap.length && this.#isBefore(left + 1, left) ? left + 1 : left
      if (!this.#swapIfBefore(child, parent)) return top
      parent = child
    }
  }

  #isBefore(a: number, b: number): boolean {
    const [left, right] = [this.#heap[a] as Entry, this.#heap[b] as Entry]
    return left.rank < right.rank || (left.rank === right.rank && left.place < right.place)
  }

  #swapIfBefore(a: number, b: number): boolean {
    if (!this.#isBefore(a, b)) return false
    const held = this.#heap[a] as Entry
    this.#heap[a] = this.#heap[b] as Entry
    this.#heap[b] = held
    return true
  }
}
