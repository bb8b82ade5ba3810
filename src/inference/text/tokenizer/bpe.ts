// Byte-pair encoding, as Rust's `tokenizers` does it.
import { fallbackToken } from './byte-level.ts'
import { flagOf, textOf, TokenizeError, type Part } from './parts.ts'
import { readVocabulary, type Model } from './vocabulary.ts'

/** Words whose ids are remembered, and the longest of them, characters. */
const CACHE_WORDS = 10_000
const CACHE_CHARACTERS = 64

/** A place before which a piece is cut where no token reaches over it: SentencePiece marks words so. */
const WORD_MARK = '▁'
const BEFORE_MARKS = /(?<=[^▁])(?=▁)/
const INSIDE_MARK = /[^▁]▁/

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
  readonly #merges: MergeTable
  /** Whether no merge joins a character with the mark of the word behind it, so that words are merged apart. */
  readonly #cutsAtMarks: boolean
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
    const { merges } = part
    if (!Array.isArray(merges)) throw new Error('BPE: merges is not a list')
    this.#merges = new MergeTable(merges.length)
    let cutsAtMarks = this.#prefix === '' && this.#suffix === '' && !this.#ignoresMerges
    for (const [rank, merge] of merges.entries()) {
      const joined = this.#addMerge(merge, rank)
      // Bytes of unknown characters are joined by merges of their own.
      cutsAtMarks &&= !INSIDE_MARK.test(joined) && !joined.includes('<0x')
    }
    this.#cutsAtMarks = cutsAtMarks && this.vocabulary.has(WORD_MARK)
  }

  encode(piece: string): number[] {
    if (!this.#cutsAtMarks || piece.length <= CACHE_CHARACTERS) return this.#encodeWord(piece)
    return piece.split(BEFORE_MARKS).flatMap((word) => this.#encodeWord(word))
  }

  #encodeWord(word: string): number[] {
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

  /** Returns the token that the merge makes. */
  #addMerge(merge: unknown, rank: number): string {
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
    this.#merges.set(leftId, rightId, { rank, id })
    return joined
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
    if (start.length < 2) return [...start]
    const { ids, previous, next } = link(start)
    const queue = new PairQueue()
    const offer = (place: number): void => {
      const after = next[place] as number
      const rank = after < 0 ? -1 : this.#merges.rankOf(ids[place] as number, ids[after] as number)
      if (rank >= 0) queue.push(rank, place)
    }
    for (let place = 0; place + 1 < ids.length; place += 1) offer(place)
    for (let top = queue.pop(); top !== undefined; top = queue.pop()) {
      const { rank, place } = top
      const after = next[place] as number
      if (ids[place] === -1 || after < 0) continue
      if (!this.#merges.makesSame(rank, ids[place] as number, ids[after] as number)) continue
      ids[place] = this.#merges.idOf(rank)
      ids[after] = -1
      const beyond = next[after] as number
      next[place] = beyond
      if (beyond >= 0) previous[beyond] = place
      const before = previous[place] as number
      if (before >= 0) offer(before)
      offer(place)
    }
    return Array.from(ids.filter((id) => id !== -1))
  }
}

/** Merges by their pair: a hash table in typed arrays, which a number of 52 bits as a Map's key is not. */
class MergeTable {
  readonly #mask: number
  /** Left and right id of each slot; -1 where it is free. */
  readonly #pairs: Int32Array
  readonly #ranks: Int32Array
  /** By rank. */
  readonly #ids: Int32Array

  constructor(count: number) {
    const slots = 2 ** Math.ceil(Math.log2(Math.max(1, count) * 2 + 1))
    this.#mask = slots - 1
    this.#pairs = new Int32Array(slots * 2).fill(-1)
    this.#ranks = new Int32Array(slots).fill(-1)
    this.#ids = new Int32Array(count)
  }

  /** A pair that is given again has the later merge. */
  set(left: number, right: number, { rank, id }: { rank: number; id: number }): void {
    const slot = this.#slotOf(left, right)
    this.#pairs[slot * 2] = left
    this.#pairs[slot * 2 + 1] = right
    this.#ranks[slot] = rank
    this.#ids[rank] = id
  }

  /** -1 for a pair that is not merged. */
  rankOf(left: number, right: number): number {
    return this.#ranks[this.#slotOf(left, right)] as number
  }

  idOf(rank: number): number {
    return this.#ids[rank] as number
  }

  /** Whether the pair is merged to the token of `rank`, by this or another merge. */
  makesSame(rank: number, left: number, right: number): boolean {
    const other = this.rankOf(left, right)
    return other >= 0 && this.idOf(other) === this.idOf(rank)
  }

  /** The pair's slot, or the free one where it would be. */
  #slotOf(left: number, right: number): number {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 0
    slot = (slot ^ (slot >>> 15)) & this.#mask
    while (this.#pairs[slot * 2] !== -1) {
      if (this.#pairs[slot * 2] === left && this.#pairs[slot * 2 + 1] === right) return slot
      slot = (slot + 1) & this.#mask
    }
    return slot
  }
}

function link(start: readonly number[]): Symbols {
  const previous = Int32Array.from(start, (_, place) => place - 1)
  const next = Int32Array.from(start, (_, place) => (place + 1 < start.length ? place + 1 : -1))
  return { ids: Int32Array.from(start), previous, next }
}

/** Places of a word: less than this, so that rank and place are one exact number. */
const PLACES = 2 ** 27

/** A heap of ranks with their places: the lowest rank first, of equals the leftmost. */
class PairQueue {
  readonly #heap: number[] = []

  push(rank: number, place: number): void {
    const heap = this.#heap
    const entry = rank * PLACES + place
    let child = heap.length
    heap.push(entry)
    while (child > 0) {
      const parent = (child - 1) >> 1
      const above = heap[parent] as number
      if (above <= entry) break
      heap[child] = above
      child = parent
    }
    heap[child] = entry
  }

  pop(): { rank: number; place: number } | undefined {
    const heap = this.#heap
    const [top] = heap
    const last = heap.pop()
    if (top === undefined || last === undefined) return undefined
    if (heap.length > 0) this.#sink(last)
    return { rank: Math.floor(top / PLACES), place: top % PLACES }
  }

  #sink(entry: number): void {
    const heap = this.#heap
    let parent = 0
    for (;;) {
      const left = parent * 2 + 1
      if (left >= heap.length) break
      const child =
        left + 1 < heap.length && (heap[left + 1] as number) < (heap[left] as number) ? left + 1 : left
      if ((heap[child] as number) >= entry) break
      heap[parent] = heap[child] as number
      parent = child
    }
    heap[parent] = entry
  }
}
