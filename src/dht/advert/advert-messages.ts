import { z } from 'zod'
import type { ProtocolName } from '../../base/stream/network.ts'
import { ADDRESS_BYTES_MAX, INTRODUCED_PEERS_MAX, PEER_ADDRESSES_MAX } from '../../base/limits.ts'
import { SignedAdvertSchema } from './advert.ts'
import type { SignedAdvert } from './advert.ts'
import type { PeerAddresses } from '../members.ts'

/** docs/protocol/advert.md: one question and one answer per stream. */
export const ADVERT_PROTOCOL: ProtocolName = 'advert/1'

export type AdvertQuestion =
  /** "Who are you?" */
  | { kind: 'get' }
  /** "This is me, and who are you?": on meeting. */
  | { kind: 'swap'; advert: SignedAdvert }
  /** "This is me", unasked: on change, and every so often. */
  | { kind: 'put'; advert: SignedAdvert }
  /** "Whom are you connected to?" */
  | { kind: 'peers' }

export type AdvertAnswer =
  | { kind: 'advert'; advert: SignedAdvert }
  | { kind: 'taken' }
  | { kind: 'refused'; reason: string }
  | { kind: 'peers'; peers: PeerAddresses[] }

const PeerAddressesSchema = z.strictObject({
  peer: z.string().min(1).max(128),
  addresses: z.array(z.string().max(ADDRESS_BYTES_MAX)).max(PEER_ADDRESSES_MAX),
})

export const AdvertQuestionSchema: z.ZodType<AdvertQuestion> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('get') }),
  z.strictObject({ kind: z.literal('swap'), advert: SignedAdvertSchema }),
  z.strictObject({ kind: z.literal('put'), advert: SignedAdvertSchema }),
  z.strictObject({ kind: z.literal('peers') }),
])

export const AdvertAnswerSchema: z.ZodType<AdvertAnswer> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('advert'), advert: SignedAdvertSchema }),
  z.strictObject({ kind: z.literal('taken') }),
  z.strictObject({ kind: z.literal('refused'), reason: z.string().max(256) }),
  z.strictObject({ kind: z.literal('peers'), peers: z.array(PeerAddressesSchema).max(INTRODUCED_PEERS_MAX) }),
])
