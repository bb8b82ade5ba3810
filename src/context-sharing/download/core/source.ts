import { invariant } from '../../../base/invariants.ts'
import { CHUNKS_REQUESTED_MAX, CHUNK_BYTES, SOURCE_WINDOW_BYTES_MAX } from '../../../base/limits.ts'
import { Bitfield } from '../../content/bitfield.ts'

/** Memory of the rate's moving average, ms. */
const RATE_MEMORY_MS = 3000
/** A window holds what arrives in twice the round trip, at least in this time, ms: deeper queues only delay. */
const WINDOW_MS_MIN = 500
const WINDOW_BYTES_MIN: number = 2 * CHUNK_BYTES
/** A new source gets the smallest window until it has delivered this many chunks. */
const PROVEN_CHUNKS = 4
/** Expected time of a first chunk, ms. */
const EXPECTED_MS_UNKNOWN = 1000
/** A chunk is overdue after four times the time it was expected to take, and not before this, ms. */
const OVERDUE_MS_MIN = 4000
const OVERDUE_FACTOR = 4
/** A source is stalled when nothing came for eight round trips, and not before this, ms. */
const STALL_MS_MIN = 5000
const STALL_ROUND_TRIPS = 8

/** A chunk asked of a source. */
export interface Request {
  requestedMs: number
  /** How long it should take from then on; at most what a new source is allowed. */
  expectedMs: number
  bytes: number
}

/** An open source has told what it has. */
export type SourcePhase =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'open'; readonly has: Bitfield; readonly openedMs: number }

const CONNECTING: SourcePhase = { kind: 'connecting' }

/** A peer that we are connected to, or connecting to, for chunks. */
export interface Source {
  readonly peer: string
  /** Its bit in the chunk pool. */
  readonly slot: number
  phase: SourcePhase
  readonly requests: Map<number, Request>
  requestedBytes: number
  rateBytesPerSecond: number
  roundTripMs: number
  /** When bytes last came, or when the first request of the present ones was sent. */
  lastByteMs: number
  /** The time until which it asked not to be contacted. */
  busyUntilMs: number
  /** When it stalled; undefined while bytes come. */
  stalledSinceMs: number | undefined
  /** When it was opened or last sent bytes. */
  lastUsefulMs: number
  verifiedChunks: number
  refusals: number
  /** Gets no more requests, and is closed when its requested chunks are here. */
  isRetiring: boolean
  /** Times that it said "not now" since its last verified chunk. */
  busyAnswers: number
}

export function newSource(peer: string, slot: number): Source {
  return {
    peer,
    slot,
    phase: CONNECTING,
    requests: new Map(),
    requestedBytes: 0,
    rateBytesPerSecond: 0,
    roundTripMs: 0,
    lastByteMs: 0,
    busyUntilMs: 0,
    stalledSinceMs: undefined,
    lastUsefulMs: 0,
    verifiedChunks: 0,
    refusals: 0,
    isRetiring: false,
    busyAnswers: 0,
  }
}

/** The only function that changes a source's phase. Throws `internal` when the source is open already. */
export function openSource(source: Source, chunkCount: number, roundTripMs: number, nowMs: number): void {
  const { peer, phase } = source
  invariant(phase.kind === 'connecting', 'a source is opened once', { peer })
  source.phase = { kind: 'open', has: new Bitfield(chunkCount), openedMs: nowMs }
  source.roundTripMs = roundTripMs
  source.lastUsefulMs = nowMs
}

/** Whether the source is open and said that it has the chunk. */
export function hasChunk({ phase }: Source, chunk: number): boolean {
  return phase.kind === 'open' && phase.has.has(chunk)
}

/** Bytes that may be asked of the source and not yet here. */
export function windowBytes(source: Source): number {
  if (source.stalledSinceMs !== undefined) return 1
  if (source.verifiedChunks < PROVEN_CHUNKS) return WINDOW_BYTES_MIN
  const windowMs = Math.max(2 * source.roundTripMs, WINDOW_MS_MIN)
  const wanted = (source.rateBytesPerSecond * windowMs) / 1000
  return Math.min(SOURCE_WINDOW_BYTES_MAX, Math.max(WINDOW_BYTES_MIN, wanted))
}

/** Whether one more chunk may be asked of the source now. */
export function hasRoom(source: Source, nowMs: number): boolean {
  return (
    source.phase.kind === 'open' &&
    !source.isRetiring &&
    source.busyUntilMs <= nowMs &&
    source.requestedBytes < windowBytes(source) &&
    source.requests.size < CHUNKS_REQUESTED_MAX
  )
}

/** How long until everything asked of the source, and `bytes` more, is here, ms. */
export function expectedMs(source: Source, bytes = 0): number {
  if (source.rateBytesPerSecond === 0) return EXPECTED_MS_UNKNOWN
  return ((source.requestedBytes + bytes) * 1000) / source.rateBytesPerSecond
}

export function addRequest(source: Source, chunk: number, bytes: number, nowMs: number): void {
  invariant(!source.requests.has(chunk), 'a chunk is asked of a source once', { peer: source.peer, chunk })
  if (source.requests.size === 0) source.lastByteMs = nowMs
  source.requests.set(chunk, { requestedMs: nowMs, expectedMs: expectedMs(source, bytes), bytes })
  source.requestedBytes += bytes
}

/** False when the chunk was not asked of the source. */
export function removeRequest(source: Source, chunk: number): boolean {
  const request = source.requests.get(chunk)
  if (request === undefined) return false
  source.requests.delete(chunk)
  source.requestedBytes -= request.bytes
  return true
}

/** Learns from bytes that came: the rate, an average that forgets with time, and that the source is alive. */
export function noteBytes(source: Source, bytes: number, nowMs: number): void {
  const elapsedMs = Math.max(1, nowMs - source.lastByteMs)
  const sample = (bytes * 1000) / elapsedMs
  const weight = source.rateBytesPerSecond === 0 ? 1 : 1 - Math.exp(-elapsedMs / RATE_MEMORY_MS)
  source.rateBytesPerSecond += weight * (sample - source.rateBytesPerSecond)
  source.lastByteMs = nowMs
  source.lastUsefulMs = nowMs
  source.stalledSinceMs = undefined
}

/** A source that has stalled is not given the time that it once seemed to need. */
export function isOverdue(source: Source, request: Request, nowMs: number): boolean {
  const expectedMs = source.stalledSinceMs === undefined ? request.expectedMs : 0
  return nowMs - request.requestedMs > Math.max(OVERDUE_MS_MIN, OVERDUE_FACTOR * expectedMs)
}

export function isSilent(source: Source, nowMs: number): boolean {
  const limitMs = Math.max(STALL_MS_MIN, STALL_ROUND_TRIPS * source.roundTripMs)
  return source.requests.size > 0 && nowMs - source.lastByteMs > limitMs
}
