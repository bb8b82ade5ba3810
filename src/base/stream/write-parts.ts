// The parts of one write to a stream.
import { BULK_SLICE_BYTES } from '../limits.ts'

/** Messages are joined into writes of so many bytes at most: what is larger gains nothing. */
const JOINED_BYTES_MAX = 16 * 1024

/** The same bytes in fewer parts, small ones together. */
export function* joined(parts: readonly Uint8Array[]): Iterable<Uint8Array> {
  let small: Uint8Array[] = []
  let bytes = 0
  for (const part of parts) {
    if (bytes + part.byteLength > JOINED_BYTES_MAX && small.length > 0) {
      yield Buffer.concat(small)
      small = []
      bytes = 0
    }
    small.push(part)
    bytes += part.byteLength
  }
  if (small.length > 0) yield small.length === 1 ? (small[0] as Uint8Array) : Buffer.concat(small)
}

/** Bulk bytes, a slice for each write. */
export function* slicesOf(bytes: Uint8Array): Iterable<Uint8Array> {
  for (let from = 0; from < bytes.byteLength; from += BULK_SLICE_BYTES)
    yield bytes.subarray(from, from + BULK_SLICE_BYTES)
}
