import { z } from 'zod'
import {
  CHUNKS_REQUESTED_MAX,
  CHUNK_BYTES,
  CHUNK_RANGES_MAX,
  CONTEXT_CHUNKS_MAX,
  MANIFEST_BYTES_MAX,
  PEERS_TOLD_MAX,
} from '../../base/limits.ts'
import type { ProtocolName } from '../../base/stream/network.ts'
import { type ChunkRange, bitfieldBytes } from '../content/bitfield.ts'
import { contextIdSchema } from '../content/manifest.ts'

/** docs/protocol/context.md describes it; it changes together with that page and its vectors. */
export const CONTEXT_PROTOCOL: ProtocolName = 'context/1'

/** How much a fetch matters: a request waits for it, somebody asked for it, or it is a spare copy. */
export type FetchPriority = 'urgent' | 'normal' | 'background'

/** Messages of the peer that opened the stream, the fetcher. `open` comes first, once. */
export type FetcherMessage =
  | { type: 'open'; contextId: string; priority: FetchPriority }
  | { type: 'manifest-request' }
  | { type: 'request'; chunks: number[] }
  | { type: 'cancel'; chunks: number[] }
  | { type: 'have'; ranges: ChunkRange[] }
  | { type: 'claim'; ranges: ChunkRange[] }
  /** The complaint: these came with another hash. The holder checks its disk. */
  | { type: 'corrupt'; chunk: number }

/** Messages of the other peer, the holder. `manifest` and `data` are followed by that many raw bytes. */
export type HolderMessage =
  | { type: 'holding'; chunks: number; bitfield: Uint8Array }
  | { type: 'absent' }
  | { type: 'manifest'; bytes: number }
  | { type: 'data'; chunk: number; bytes: number }
  | { type: 'have'; ranges: ChunkRange[] }
  /** Not now: these chunks, or all that were asked for. */
  | { type: 'busy'; chunks: number[]; retryMs: number; alternatives: string[] }
  | { type: 'reject'; code: RejectCode; chunks: number[] }
  /** Others that fetch this context, and so have chunks of it. */
  | { type: 'peers'; peers: string[] }

/** Reasons for a refusal. After any code but `not-held` and `unreadable` the holder ends the stream. */
export type RejectCode = (typeof REJECT_CODES)[number]
const REJECT_CODES = [
  /** These chunks are not held (any more). */
  'not-held',
  /** These chunks are corrupted on disk. */
  'unreadable',
  /** More chunks were asked for than CHUNKS_REQUESTED_MAX. */
  'too-many',
  /** The messages do not make sense in this order. */
  'out-of-turn',
] as const

const chunk = z
  .int()
  .min(0)
  .max(CONTEXT_CHUNKS_MAX - 1)
const range: z.ZodType<ChunkRange> = z.tuple([chunk, z.int().min(1).max(CONTEXT_CHUNKS_MAX)])
const ranges = z.array(range).max(CHUNK_RANGES_MAX)
const someChunks = z.array(chunk).min(1).max(CHUNKS_REQUESTED_MAX)
const anyChunks = z.array(chunk).max(CHUNKS_REQUESTED_MAX)
const peers = z.array(z.string().min(1).max(128)).max(PEERS_TOLD_MAX)
const have = z.strictObject({ type: z.literal('have'), ranges })

export const fetcherMessageSchema: z.ZodType<FetcherMessage> = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('open'),
    contextId: contextIdSchema,
    priority: z.enum(['urgent', 'normal', 'background']),
  }),
  z.strictObject({ type: z.literal('manifest-request') }),
  z.strictObject({ type: z.literal('request'), chunks: someChunks }),
  z.strictObject({ type: z.literal('cancel'), chunks: someChunks }),
  have,
  z.strictObject({ type: z.literal('claim'), ranges }),
  z.strictObject({ type: z.literal('corrupt'), chunk }),
])

export const holderMessageSchema: z.ZodType<HolderMessage> = z.discriminatedUnion('type', [
  z
    .strictObject({
      type: z.literal('holding'),
      chunks: z.int().min(0).max(CONTEXT_CHUNKS_MAX),
      bitfield: z.instanceof(Uint8Array),
    })
    .refine(
      ({ chunks, bitfield }) => bitfield.byteLength === bitfieldBytes(chunks),
      'bitfield has the wrong size',
    ),
  z.strictObject({ type: z.literal('absent') }),
  z.strictObject({ type: z.literal('manifest'), bytes: z.int().min(1).max(MANIFEST_BYTES_MAX) }),
  z.strictObject({ type: z.literal('data'), chunk, bytes: z.int().min(1).max(CHUNK_BYTES) }),
  have,
  z.strictObject({
    type: z.literal('busy'),
    chunks: anyChunks,
    retryMs: z.int().min(0).max(60_000),
    alternatives: peers,
  }),
  z.strictObject({ type: z.literal('reject'), code: z.enum(REJECT_CODES), chunks: anyChunks }),
  z.strictObject({ type: z.literal('peers'), peers }),
])

/** The first answer may take a look at the disk, ms. */
export const OPEN_DEADLINE_MS = 10_000
/** Each side says something at least this often, if only an empty `have`, ms. */
export const KEEP_ALIVE_MS = 20_000
/** A peer that says nothing for this long is gone, ms. */
export const SILENCE_MS_MAX: number = 3 * KEEP_ALIVE_MS
/** A write that finds no room for this long has nobody at its other end, ms. */
export const SEND_DEADLINE_MS = 30_000
