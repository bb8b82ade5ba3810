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

/** Unsigned LEB128; a negative number as its 64-bit two's complement, as protobuf writes int64. */
function encodeVarint(value: number): Uint8Array {
  if (!Number.isSafeInteger(value)) throw new RangeError(`not a whole number: ${value}`)
  let rest = BigInt.asUintN(64, BigInt(value))
  const bytes: number[] = []
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}

/** One protobuf message. The numbers are the field numbers of onnx.proto. */
export class Message {
  readonly parts: Part[] = []
  byteLength = 0

  integer(field: number, value: number): this {
    return this.#tag(field, WIRE_VARINT).#push(encodeVarint(value))
  }

  float(field: number, value: number): this {
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setFloat32(0, value, true)
    return this.#tag(field, WIRE_FIXED32).#push(bytes)
  }

  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value, 'utf8'))
  }

  bytes(field: number, value: Part): this {
    return this.#tag(field, WIRE_LENGTH).#push(encodeVarint(value.byteLength)).#push(value)
  }

  message(field: number, value: Message): this {
    this.#tag(field, WIRE_LENGTH).#push(encodeVarint(value.byteLength))
    for (const part of value.parts) this.#push(part)
    return this
  }

  #tag(field: number, wire: number): this {
    return this.#push(encodeVarint(field * 8 + wire))
  }

  #push(part: Part): this {
    this.parts.push(part)
    this.byteLength += part.byteLength
    return this
  }
}

export function bytesOf(part: Part): Uint8Array {
  if (part instanceof Uint8Array) return part
  const bytes = part.read()
  if (bytes.byteLength !== part.byteLength) {
    throw new RangeError(`${bytes.byteLength} bytes where ${part.byteLength} were announced`)
  }
  return bytes
}
