import { z } from 'zod'
import type { ProtocolName } from '../../base/stream/network.ts'
import { contextIdSchema } from '../content/manifest.ts'
import { originIdSchema } from '../content/origin-id.ts'

/** docs/protocol/origin.md: one question and one answer per stream. */
export const ORIGIN_PROTOCOL: ProtocolName = 'origin/1'

/** "What about this model: do you have it, or are you getting it?" */
export interface OriginQuestion {
  type: 'ask'
  originId: string
}

/** How far a peer is with a model that it wants from its origin. */
export type OriginPhase =
  /** It would download it if nobody else did. */
  | { type: 'waiting' }
  /** Bytes that are here. */
  | { type: 'downloading'; bytes: number }
  /** All bytes are here, and are being hashed into the store. */
  | { type: 'importing' }

export type OriginAnswer = OriginPhase | { type: 'none' } | { type: 'stored'; contextId: string }

export const originQuestionSchema: z.ZodType<OriginQuestion> = z.strictObject({
  type: z.literal('ask'),
  originId: originIdSchema,
})

const phases = [
  z.strictObject({ type: z.literal('waiting') }),
  z.strictObject({ type: z.literal('downloading'), bytes: z.int().min(0) }),
  z.strictObject({ type: z.literal('importing') }),
] as const

export const originPhaseSchema: z.ZodType<OriginPhase> = z.discriminatedUnion('type', [...phases])

export const originAnswerSchema: z.ZodType<OriginAnswer> = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('none') }),
  ...phases,
  z.strictObject({ type: z.literal('stored'), contextId: contextIdSchema }),
])
