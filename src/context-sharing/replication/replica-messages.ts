import { z } from 'zod'
import type { ProtocolName } from '../../base/stream/network.ts'
import { contextIdSchema } from '../content/manifest.ts'
import type { DeclineCode } from './core/replication-events.ts'

/** docs/protocol/replica.md: one offer and one answer per stream. */
export const REPLICA_PROTOCOL: ProtocolName = 'replica/1'

/** "Fetch this context now, from me and from any other holder." */
export interface ReplicaOffer {
  type: 'offer'
  contextId: string
  /** The size of all its files together. */
  bytes: number
  /** Copies that others have, as far as the offering peer knows. */
  copies: number
  /** `drain`: the offering peer is shutting down. */
  why: 'offered' | 'drain'
}

/** `too-many`: this peer made more offers lately than REPLICA_OFFERS_PER_MINUTE_MAX. */
export type ReplicaAnswer = { type: 'accepted' } | { type: 'declined'; code: DeclineCode | 'too-many' }

export const replicaOfferSchema: z.ZodType<ReplicaOffer> = z.strictObject({
  type: z.literal('offer'),
  contextId: contextIdSchema,
  bytes: z.int().min(0),
  copies: z.int().min(0).max(1_000_000),
  why: z.enum(['offered', 'drain']),
})

export const replicaAnswerSchema: z.ZodType<ReplicaAnswer> = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('accepted') }),
  z.strictObject({
    type: z.literal('declined'),
    code: z.enum(['unclaimed', 'draining', 'opted-out', 'held', 'no-room', 'busy', 'enough', 'too-many']),
  }),
])
