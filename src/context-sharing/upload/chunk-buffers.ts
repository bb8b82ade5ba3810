import { CHUNK_BYTES, UPLOAD_BUFFERS_SPARE_MAX } from '../../base/limits.ts'

/**
 * Buffers of one chunk each, used again and again: a new one for every chunk would cost more in garbage
 * collection than sending it does.
 */
export class ChunkBuffers {
  readonly #spare: Uint8Array[] = []

  /** A buffer with arbitrary content. The caller returns it when nothing reads it. */
  take(): Uint8Array {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES)
  }

  give(buffer: Uint8Array): void {
    if (this.#spare.length < UPLOAD_BUFFERS_SPARE_MAX) this.#spare.push(buffer)
  }
}
