// Reads protobuf's wire format (https://protobuf.dev/programming-guides/encoding/) without a schema and
// without holding the whole file: a model may be 2 GB of weights around 100 KB of graph.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { HearthError } from '../../base/errors.ts'

/** Bytes that can be looked at in places. */
export interface ByteSource {
  readonly byteLength: number
  slice(start: number, end: number): Uint8Array
}

export interface Field {
  /** The field's number in its message. */
  number: number
  /** A varint's value as int64; 0 for the other kinds. */
  integer: number
  /** Where the payload is in the source; empty for a varint. */
  start: number
  end: number
}

/** The largest header: a tag and a length, each a varint. */
const HEADER_BYTES_MAX = 20

/** Fields are read in pieces of this size, because making a view costs more than reading a short field. */
const PIECE_BYTES = 4_096

export function malformed(why: string): HearthError {
  return new HearthError('model-unsupported', `the ONNX file is malformed: ${why}`)
}

/** The fields of the message in [start, end). Throws `model-unsupported` where it is no message. */
export function* readFields(source: ByteSource, start: number, end: number): Generator<Field> {
  let piece: Uint8Array = new Uint8Array(0)
  let pieceStart = start
  for (let at = start; at < end;) {
    if (Math.min(end, at + HEADER_BYTES_MAX) > pieceStart + piece.byteLength) {
      piece = source.slice(at, Math.min(end, at + PIECE_BYTES))
      pieceStart = at
    }
    const field = readField(piece, at - pieceStart, at)
    at = field.end
    if (at > end) throw malformed('a field is longer than what holds it')
    yield field
  }
}

/** The field whose header is at `index` of `piece`, and at `at` of the source. */
function readField(piece: Uint8Array, index: number, at: number): Field {
  const [tag, tagLength] = readVarint(piece, index)
  const wire = tag & 7
  const number = Math.floor(tag / 8)
  if (wire === 0) {
    const [integer, length] = readVarint(piece, index + tagLength)
    const end = at + tagLength + length
    return { number, integer, start: end, end }
  }
  const [payload, lengthLength] = wire === 2 ? readVarint(piece, index + tagLength) : [fixedLength(wire), 0]
  if (payload < 0) throw malformed('a field is longer than what holds it')
  const start = at + tagLength + lengthLength
  return { number, integer: 0, start, end: start + payload }
}

function fixedLength(wire: number): number {
  if (wire === 1) return 8
  if (wire === 5) return 4
  throw malformed(`wire type ${wire}`)
}

/** The int64 at `at`, and how many bytes it took. */
function readVarint(bytes: Uint8Array, at: number): [value: number, length: number] {
  let value = 0
  let scale = 1
  for (let length = 1; length <= 7; length += 1) {
    const byte = bytes[at + length - 1]
    if (byte === undefined) throw malformed('it ends within a number')
    value += (byte & 127) * scale
    if (byte < 128) return [value, length]
    scale *= 128
  }
  return readLongVarint(bytes, at)
}

/** Over 49 bits: negative numbers, which take ten bytes. */
function readLongVarint(bytes: Uint8Array, at: number): [value: number, length: number] {
  let value = 0n
  for (let length = 1; length <= 10; length += 1) {
    const byte = bytes[at + length - 1]
    if (byte === undefined) throw malformed('it ends within a number')
    value += BigInt(byte & 127) << BigInt(7 * (length - 1))
    if (byte < 128) return [Number(BigInt.asIntN(64, value)), length]
  }
  throw malformed('a number is too long')
}

/** The int64 numbers packed in a payload. */
export function readPacked(bytes: Uint8Array): number[] {
  const numbers: number[] = []
  for (let at = 0; at < bytes.byteLength;) {
    const [value, length] = readVarint(bytes, at)
    numbers.push(value)
    at += length
  }
  return numbers
}

export function bytesSource(bytes: Uint8Array): ByteSource {
  return { byteLength: bytes.byteLength, slice: (start, end) => bytes.subarray(start, end) }
}

const WINDOW_BYTES = 64 * 1_024

/** A file, read in windows. */
export class FileSource implements ByteSource, Disposable {
  readonly byteLength: number
  readonly #file: number
  #window: Uint8Array = new Uint8Array(0)
  #windowStart = 0

  constructor(path: string) {
    this.#file = openSync(path, 'r')
    this.byteLength = fstatSync(this.#file).size
  }

  slice(start: number, end: number): Uint8Array {
    if (end - start > WINDOW_BYTES) return this.#read(start, end)
    if (start < this.#windowStart || end > this.#windowStart + this.#window.byteLength) {
      this.#window = this.#read(start, Math.min(this.byteLength, start + WINDOW_BYTES))
      this.#windowStart = start
    }
    return this.#window.subarray(start - this.#windowStart, end - this.#windowStart)
  }

  [Symbol.dispose](): void {
    closeSync(this.#file)
  }

  #read(start: number, end: number): Uint8Array {
    const bytes = new Uint8Array(end - start)
    for (let filled = 0; filled < bytes.byteLength;) {
      const count = readSync(this.#file, bytes, filled, bytes.byteLength - filled, start + filled)
      if (count === 0) throw malformed('it ends early')
      filled += count
    }
    return bytes
  }
}
