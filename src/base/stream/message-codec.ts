import { decode as decodeCbor, encode as encodeCbor } from '@ipld/dag-cbor'
import { decode as decodeVarint, encode as encodeVarint, encodingLength } from 'uint8-varint'
import type { ZodType } from 'zod'
import { HearthError } from '../errors.ts'
import { FRAME_BYTES_MAX } from '../limits.ts'

/** A length prefix never takes more bytes than this: 2^28 is far above FRAME_BYTES_MAX. */
const PREFIX_BYTES_MAX = 4

/**
 * A message as it travels: an unsigned-varint length, then that many bytes of dag-cbor.
 * Throws `frame-too-large` for a message that no peer would accept.
 */
export function encodeMessage(message: unknown): Uint8Array {
  const body = encodeCbor(message)
  if (body.byteLength > FRAME_BYTES_MAX) throw frameTooLarge(body.byteLength)
  const prefixBytes = encodingLength(body.byteLength)
  const frame = new Uint8Array(prefixBytes + body.byteLength)
  encodeVarint(body.byteLength, frame)
  frame.set(body, prefixBytes)
  return frame
}

/** The message in `body`, checked by `schema`. Throws `message-invalid`. */
export function decodeMessage<T>(body: Uint8Array, schema: ZodType<T>, from: string): T {
  let value: unknown
  try {
    value = decodeCbor(body)
  } catch (cause) {
    throw new HearthError('message-invalid', `${from} sent bytes that are not dag-cbor`, { cause })
  }
  const checked = schema.safeParse(value)
  if (checked.success) return checked.data
  const issue = checked.error.issues[0]
  throw new HearthError(
    'message-invalid',
    `${from} sent a message that is not of its protocol: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`,
    { cause: checked.error },
  )
}

/** The length prefix at the start of `bytes`: its value and its own size; undefined while incomplete. */
export function readLengthPrefix(bytes: Uint8Array): { length: number; prefixBytes: number } | undefined {
  let end = 0
  while ((bytes[end] ?? 0) >= 0x80) end += 1
  if (end >= PREFIX_BYTES_MAX) throw frameTooLarge(Number.POSITIVE_INFINITY)
  if (end >= bytes.byteLength) return undefined
  const length = decodeVarint(bytes)
  if (length > FRAME_BYTES_MAX) throw frameTooLarge(length)
  return { length, prefixBytes: end + 1 }
}

function frameTooLarge(bytes: number): HearthError {
  return new HearthError(
    'frame-too-large',
    `a message of ${bytes} bytes is over the limit of ${FRAME_BYTES_MAX}`,
    {
      data: { bytes, bytesMax: FRAME_BYTES_MAX },
    },
  )
}
