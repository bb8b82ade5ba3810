// The keys and values of all slots, in the layout that a step of the model takes as its past.

import type { KvShape } from '../graph/decoder.ts'

export const KV_PARTS = ['key', 'value'] as const

export type KvPart = (typeof KV_PARTS)[number]

/** Where a step's output has the keys or values of one layer: [rows, heads, tokens, headSize]. */
export interface KvRows {
  data: Float32Array
  /** Tokens of each head, new ones among them. */
  tokens: number
}

/** `count` tokens of `row`, from token `from` of it on, for `slot`, from its token `to` on. */
export interface KvPlace {
  row: number
  from: number
  slot: number
  to: number
  count: number
}

/**
 * How much more is reserved than is needed: growing into it touches no page that holds nothing, where a new
 * array's pages are all made by the system first, which takes as long as some steps. Reserved memory that was
 * never written takes none.
 */
const ROOM = 2

export class KvStore {
  readonly shape: KvShape
  readonly slots: number
  #capacity = 0
  #version = 0
  /** One array for each layer and part: [slots, heads, capacity, headSize], and room to grow. */
  #arrays: Float32Array[]

  constructor(shape: KvShape, slots: number) {
    this.shape = shape
    this.slots = slots
    this.#arrays = Array.from({ length: shape.layers * KV_PARTS.length }, () => new Float32Array(0))
  }

  /** Tokens that a slot holds. */
  get capacity(): number {
    return this.#capacity
  }

  /** Grows with every change. */
  get version(): number {
    return this.#version
  }

  /** fp32 bytes of one token. */
  static tokenBytes({ layers, keyValueHeads, headSize }: KvShape): number {
    return layers * KV_PARTS.length * keyValueHeads * headSize * 4
  }

  /** Changes the capacity of every slot; what fits stays, for the first `slotsUsed`. */
  resize(capacity: number, slotsUsed: number): void {
    if (capacity === this.#capacity) return
    this.#version += 1
    const { keyValueHeads, headSize } = this.shape
    const heads = this.slots * keyValueHeads
    const [before, after] = [this.#capacity * headSize, capacity * headSize]
    const room = this.#arrays[0]?.length ?? 0
    // Less memory than a quarter of what there is goes back to the machine.
    const isKept = heads * after <= room && heads * after * ROOM * 2 > room
    this.#arrays = this.#arrays.map((old) => {
      const array = isKept ? old : new Float32Array(heads * after * ROOM)
      moveHeads(old, array, slotsUsed * keyValueHeads, { before, after })
      return array
    })
    this.#capacity = capacity
  }

  /** `span` slots from `slot` on, as they lie in memory: [span, heads, capacity, headSize]. */
  view(layer: number, part: KvPart, slot: number, span: number): Float32Array {
    const size = this.#slotSize
    return this.#array(layer, part).subarray(slot * size, (slot + span) * size)
  }

  /** The first `count` tokens of a slot, packed: [1, heads, count, headSize]. */
  copyTokens(layer: number, part: KvPart, slot: number, count: number): Float32Array {
    const { keyValueHeads, headSize } = this.shape
    const packed = new Float32Array(keyValueHeads * count * headSize)
    const array = this.#array(layer, part)
    for (let head = 0; head < keyValueHeads; head += 1) {
      const from = this.#offset(slot, head, 0)
      packed.set(array.subarray(from, from + count * headSize), head * count * headSize)
    }
    return packed
  }

  /** Stores what a step made of one layer's keys or values, each place's tokens in its slot. */
  write(layer: number, part: KvPart, rows: KvRows, places: readonly KvPlace[]): void {
    const { keyValueHeads, headSize } = this.shape
    const array = this.#array(layer, part)
    this.#version += 1
    const [sources, targets, pairs] = [pairsOf(rows.data), pairsOf(array), headSize / 2]
    for (const { row, from, slot, to, count } of places) {
      for (let head = 0; head < keyValueHeads; head += 1) {
        const source = ((row * keyValueHeads + head) * rows.tokens + from) * headSize
        const target = this.#offset(slot, head, to)
        if (count === 1) {
          // A loop, and in this place: for so few, making a view or calling a closure costs more than copying.
          const [first, at] = [source / 2, target / 2]
          for (let index = 0; index < pairs; index += 1) {
            targets[at + index] = sources[first + index] as number
          }
        } else array.set(rows.data.subarray(source, source + count * headSize), target)
      }
    }
  }

  /** Copies the first `count` tokens of a slot of another store. */
  copyFrom(other: KvStore, from: number, to: number, count: number): void {
    for (let layer = 0; layer < this.shape.layers; layer += 1) {
      for (const part of KV_PARTS) {
        const rows = { data: other.view(layer, part, from, 1), tokens: other.capacity }
        this.write(layer, part, rows, [{ row: 0, from: 0, slot: to, to: 0, count }])
      }
    }
  }

  /** Copies one slot over another. */
  move(from: number, to: number): void {
    const size = this.#slotSize
    this.#version += 1
    for (const array of this.#arrays) array.copyWithin(to * size, from * size, (from + 1) * size)
  }

  /** Fills a slot with zeros. */
  clear(slot: number): void {
    const size = this.#slotSize
    this.#version += 1
    for (const array of this.#arrays) array.fill(0, slot * size, (slot + 1) * size)
  }

  get #slotSize(): number {
    return this.shape.keyValueHeads * this.#capacity * this.shape.headSize
  }

  #offset(slot: number, head: number, token: number): number {
    return ((slot * this.shape.keyValueHeads + head) * this.#capacity + token) * this.shape.headSize
  }

  #array(layer: number, part: KvPart): Float32Array {
    return this.#arrays[layer * KV_PARTS.length + KV_PARTS.indexOf(part)] as Float32Array
  }
}

/** Moves what fits of each head's elements from places of size `before` to such of size `after`. */
function moveHeads(
  from: Float32Array,
  to: Float32Array,
  heads: number,
  { before, after }: { before: number; after: number },
): void {
  const kept = Math.min(before, after)
  const move = (head: number): void => {
    to.set(from.subarray(head * before, head * before + kept), head * after)
  }
  // Within one array, no head may land on one that has not moved yet.
  if (after > before) for (let head = heads - 1; head >= 0; head -= 1) move(head)
  else for (let head = 0; head < heads; head += 1) move(head)
}

/**
 * Floats two by two, as doubles: half as many to copy. A double is not kept to the bit only where it is no
 * number, and then its second float was none. Heads are of an even size.
 */
function pairsOf({ buffer, byteOffset, length }: Float32Array): Float64Array {
  return new Float64Array(buffer, byteOffset, Math.floor(length / 2))
}
