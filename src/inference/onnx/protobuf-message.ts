// Writes protobuf's wire format (https://protobuf.dev/programming-guides/encoding/) without a schema.

/** Bytes whose number is known before they are made. */
export interface LazyBytes {
  byteLength: number
  read: () => Uint8Array
}

const WIRE_VARINT = 0
const WIRE_LENGTH = 2
const WIRE_FIXED32 = 5

/** Bytes, or bytes that are made when they are written. */
export type Part = Uint8Array | LazyBytes

/** Bytes of the number as unsigned LEB128; a negative one as its 64-bit two's complement, as protobuf writes int64. */
function varintLength(value: number): number {
  if (!Number.isSafeInteger(value)) throw new RangeError(`not a whole number: ${value}`)
  if (value < 0) return 10
  let length = 1
  for (let rest = value; rest >= 128; rest /= 128) length += 1
  return length
}

function writeVarint(bytes: Uint8Array, at: number, value: number): void {
  if (value < 0) return writeLongVarint(bytes, at, BigInt.asUintN(64, BigInt(value)))
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes[at++] = (rest % 128) | 128
  bytes[at] = rest
}

function writeLongVarint(bytes: Uint8Array, at: number, value: bigint): void {
  let rest = value
  for (; rest > 127n; rest >>= 7n) bytes[at++] = Number(rest & 127n) | 128
  bytes[at] = Number(rest)
}

/** Longer parts are not copied. */
const COPIED_BYTES_MAX = 1_024
const CHUNK_BYTES_MIN = 64
const EMPTY = Buffer.alloc(0)

/** One protobuf message. The numbers are the field numbers of onnx.proto. */
export class Message {
  byteLength = 0
  readonly #parts: Part[] = []
  /** Short fields are gathered here, and become a part when a long one follows. */
  #chunk: Buffer = EMPTY
  #chunkLength = 0

  /** All that was written, in order. */
  get parts(): readonly Part[] {
    this.#endChunk()
    return this.#parts
  }

  integer(field: number, value: number): this {
    return this.#varint(field * 8 + WIRE_VARINT).#varint(value)
  }

  float(field: number, value: number): this {
    this.#varint(field * 8 + WIRE_FIXED32)
    const at = this.#reserve(4)
    this.#chunk.writeFloatLE(value, at)
    return this
  }

  text(field: number, value: string): this {
    const length = Buffer.byteLength(value)
    this.#varint(field * 8 + WIRE_LENGTH).#varint(length)
    const at = this.#reserve(length)
    this.#chunk.write(value, at)
    return this
  }

  bytes(field: number, value: Part): this {
    return this.#varint(field * 8 + WIRE_LENGTH).#varint(value.byteLength).#push(value)
  }

  message(field: number, value: Message): this {
    this.#varint(field * 8 + WIRE_LENGTH).#varint(value.byteLength)
    for (const part of value.parts) this.#push(part)
    return this
  }

  #varint(value: number): this {
    const at = this.#reserve(varintLength(value))
    writeVarint(this.#chunk, at, value)
    return this
  }

  #push(part: Part): this {
    if (part instanceof Uint8Array && part.byteLength <= COPIED_BYTES_MAX) {
      const at = this.#reserve(part.byteLength)
      this.#chunk.set(part, at)
      return this
    }
    this.#endChunk()
    this.#parts.push(part)
    this.byteLength += part.byteLength
    return this
  }

  /** Room for so many bytes more; returns where. */
  #reserve(length: number): number {
    const at = this.#chunkLength
    if (at + length > this.#chunk.byteLength) {
      const grown = Buffer.allocUnsafe(Math.max(CHUNK_BYTES_MIN, 2 * (at + length)))
      grown.set(this.#chunk.subarray(0, at))
      this.#chunk = grown
    }
    this.#chunkLength += length
    this.byteLength += length
    return at
  }

  #endChunk(): void {
    if (this.#chunkLength === 0) return
    this.#parts.push(this.#chunk.subarray(0, this.#chunkLength))
    this.#chunk = EMPTY
    this.#chunkLength = 0
  }
}

export function bytesOf(part: Part): Uint8Array {
  if (part instanceof Uint8Array) return part
  const bytes = part.read()
  if (bytes.byteLength !== part.byteLength) {
    throw new RangeError(`${bytes.byteLength} bytes, but ${part.byteLength} were announced`)
  }
  return bytes
}
