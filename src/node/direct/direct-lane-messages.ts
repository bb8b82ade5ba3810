import { z } from 'zod'
import type { ProtocolName } from '../../base/stream/network.ts'

/** docs/protocol/direct.md describes it; it changes together with that page and its vectors. */
export const DIRECT_PROTOCOL: ProtocolName = 'direct/1'

/** Bytes of a token, and of a certificate's fingerprint. */
export const TOKEN_BYTES = 32
/** The listening side's answer to a known token, on the socket. */
export const WELCOME = 0x01

export interface DirectRequest {
  type: 'request'
  /** The protocol to speak on the socket. */
  protocol: string
}

export type DirectAnswer =
  | { type: 'offer'; port: number; fingerprint: Uint8Array; token: Uint8Array }
  | { type: 'refusal'; reason: string }

const secret = z.instanceof(Uint8Array).refine((bytes) => bytes.byteLength === TOKEN_BYTES, 'not 32 bytes')

export const directRequestSchema: z.ZodType<DirectRequest> = z.strictObject({
  type: z.literal('request'),
  protocol: z.string().min(1).max(64),
})

export const directAnswerSchema: z.ZodType<DirectAnswer> = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('offer'),
    port: z.int().min(1).max(65_535),
    fingerprint: secret,
    token: secret,
  }),
  z.strictObject({ type: z.literal('refusal'), reason: z.string().max(256) }),
])
