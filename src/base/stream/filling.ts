import type { ReadQueue } from './read-queue.ts'

/** How many bytes come before the reader is told: a source at 64 KB/s is known for what it is in a second. */
const PROGRESS_BYTES = 64 * 1024

/** A buffer that raw bytes are received into, straight from where they come. */
export class Filling {
  readonly #target: Uint8Array
  readonly #onBytes: (bytes: number) => void
  #filled = 0
  #told = 0

  constructor(target: Uint8Array, onBytes: (bytes: number) => void) {
    this.#target = target
    this.#onBytes = onBytes
  }

  /** How many bytes are here. */
  get filled(): number {
    return this.#filled
  }

  /** Copies what has room, and returns the rest, which is not a copy; undefined when nothing is left. */
  take(bytes: Uint8Array): Uint8Array | undefined {
    const room = this.#target.byteLength - this.#filled
    const piece = bytes.byteLength <= room ? bytes : bytes.subarray(0, room)
    this.#target.set(piece, this.#filled)
    this.#add(piece.byteLength)
    return piece === bytes ? undefined : bytes.subarray(room)
  }

  takeFrom(queue: ReadQueue): void {
    const length = Math.min(queue.byteLength, this.#target.byteLength - this.#filled)
    queue.takeInto(this.#target.subarray(this.#filled, this.#filled + length))
    this.#add(length)
  }

  #add(bytes: number): void {
    this.#filled += bytes
    const untold = this.#filled - this.#told
    if (untold === 0 || (untold < PROGRESS_BYTES && this.#filled < this.#target.byteLength)) return
    this.#told = this.#filled
    this.#onBytes(untold)
  }
}
