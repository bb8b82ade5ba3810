/** Bytes received and not yet taken, in order; nothing is copied until it is taken. */
export class ReadQueue {
  #parts: Uint8Array[] = []
  #head = 0
  #byteLength = 0

  get byteLength(): number {
    return this.#byteLength
  }

  push(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return
    // Not a Buffer, because Buffer.slice() returns a view and Uint8Array.slice() a copy.
    this.#parts.push(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    this.#byteLength += bytes.byteLength
  }

  /** Up to `length` bytes from the front, left in place. */
  peek(length: number): Uint8Array {
    const first = this.#parts[this.#head]
    if (first === undefined) return new Uint8Array(0)
    if (first.byteLength >= length) return first.subarray(0, length)
    return this.#copy(Math.min(length, this.#byteLength))
  }

  /** Exactly `length` bytes from the front, removed. `length` must not exceed `byteLength`. */
  take(length: number): Uint8Array {
    if (length > this.#byteLength) throw new RangeError(`${length} bytes asked of ${this.#byteLength}`)
    const first = this.#parts[this.#head]
    if (first !== undefined && first.byteLength > length) {
      this.#parts[this.#head] = first.subarray(length)
      this.#byteLength -= length
      return first.subarray(0, length)
    }
    const taken = this.#copy(length)
    this.#drop(length)
    return taken
  }

  /** Fills `target` from the front, and removes what it took. `target` must not be longer than the queue. */
  takeInto(target: Uint8Array): void {
    const length = target.byteLength
    if (length > this.#byteLength) throw new RangeError(`${length} bytes asked of ${this.#byteLength}`)
    this.#copyInto(target)
    this.#drop(length)
  }

  #copy(length: number): Uint8Array {
    const first = this.#parts[this.#head]
    if (first?.byteLength === length) return first
    const copy = new Uint8Array(length)
    this.#copyInto(copy)
    return copy
  }

  #copyInto(target: Uint8Array): void {
    let filled = 0
    for (let index = this.#head; filled < target.byteLength; index += 1) {
      const part = this.#parts[index]
      if (part === undefined) break
      const piece = part.subarray(0, target.byteLength - filled)
      target.set(piece, filled)
      filled += piece.byteLength
    }
  }

  #drop(length: number): void {
    this.#byteLength -= length
    let left = length
    while (left > 0) {
      const part = this.#parts[this.#head]
      if (part === undefined) break
      if (part.byteLength > left) {
        this.#parts[this.#head] = part.subarray(left)
        break
      }
      left -= part.byteLength
      this.#head += 1
    }
    if (this.#head > 64 || this.#head === this.#parts.length) {
      this.#parts = this.#parts.slice(this.#head)
      this.#head = 0
    }
  }
}
