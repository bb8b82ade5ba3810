/** A run of chunks: the first, and how many. */
export type ChunkRange = [first: number, count: number]

/** A set of chunk numbers below `size`, one bit each (the first chunk is the highest bit of the first byte). */
export class Bitfield {
  readonly size: number
  readonly #bytes: Uint8Array
  #count = 0

  constructor(size: number, bytes: Uint8Array = new Uint8Array(bitfieldBytes(size))) {
    if (bytes.byteLength !== bitfieldBytes(size)) {
      throw new RangeError(`a bitfield of ${size} has ${bitfieldBytes(size)} bytes, not ${bytes.byteLength}`)
    }
    this.size = size
    this.#bytes = bytes.slice()
    this.#clearPadding()
    for (const byte of this.#bytes) this.#count += bitsIn(byte)
  }

  static full(size: number): Bitfield {
    return new Bitfield(size, new Uint8Array(bitfieldBytes(size)).fill(0xff))
  }

  /** How many are in the set. */
  get count(): number {
    return this.#count
  }

  get isFull(): boolean {
    return this.#count === this.size
  }

  has(index: number): boolean {
    return index >= 0 && index < this.size && ((this.#bytes[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0
  }

  /** Puts `index` in; false when it was in already. */
  add(index: number): boolean {
    if (index < 0 || index >= this.size) throw new RangeError(`chunk ${index} of ${this.size}`)
    if (this.has(index)) return false
    this.#bytes[index >> 3] = (this.#bytes[index >> 3] ?? 0) | (0x80 >> (index & 7))
    this.#count += 1
    return true
  }

  /** Takes `index` out; false when it was not in. */
  delete(index: number): boolean {
    if (!this.has(index)) return false
    this.#bytes[index >> 3] = (this.#bytes[index >> 3] ?? 0) & ~(0x80 >> (index & 7))
    this.#count -= 1
    return true
  }

  *[Symbol.iterator](): Generator<number> {
    for (let index = 0; index < this.size; index += 1) if (this.has(index)) yield index
  }

  toBytes(): Uint8Array {
    return this.#bytes.slice()
  }

  #clearPadding(): void {
    const unused = this.#bytes.byteLength * 8 - this.size
    const last = this.#bytes.byteLength - 1
    if (unused > 0) this.#bytes[last] = (this.#bytes[last] ?? 0) & (0xff << unused)
  }
}

/** Bytes of a bitfield of `size` chunks. */
export function bitfieldBytes(size: number): number {
  return Math.ceil(size / 8)
}

/** Chunk numbers, sorted here, as runs. */
export function toRanges(chunks: Iterable<number>): ChunkRange[] {
  const ranges: ChunkRange[] = []
  for (const chunk of [...chunks].sort((left, right) => left - right)) {
    const last = ranges.at(-1)
    if (last !== undefined && chunk < last[0] + last[1]) continue
    if (last !== undefined && chunk === last[0] + last[1]) last[1] += 1
    else ranges.push([chunk, 1])
  }
  return ranges
}

/** The chunks of `ranges` that lie below `size`: a range from a peer may say anything. */
export function* chunksOf(ranges: readonly ChunkRange[], size: number): Generator<number> {
  for (const [first, count] of ranges) {
    for (let chunk = first; chunk < Math.min(size, first + count); chunk += 1) yield chunk
  }
}

function bitsIn(byte: number): number {
  let count = 0
  for (let left = byte; left !== 0; left &= left - 1) count += 1
  return count
}
