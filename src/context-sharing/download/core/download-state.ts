import { listedBackoffMs } from '../../../base/waiting/backoff.ts'
import { present } from '../../../base/invariants.ts'
import { CHUNK_BYTES } from '../../../base/limits.ts'
import type { Bitfield } from '../../content/bitfield.ts'
import { ChunkPool } from './chunk-pool.ts'
import { type Source, expectedMs, removeRequest } from './source.ts'

/** Second copies near the end: at most this part of all, but one in any case, and no more than so many bytes. */
const DUPLICATE_BYTES_MAX: number = 8 * CHUNK_BYTES
const DUPLICATE_SHARE_MAX = 0.01
/** Waits before a lost source is tried again, and before holders are looked for again, ms. */
export const RETRY_WAITS_MS: readonly number[] = [1000, 2000, 5000, 15_000, 30_000]

export interface DownloadOptions {
  /** The download fails after this long without a new byte, ms. */
  unavailableAfterMs: number
}

/** A peer that may become a source. */
export interface Candidate {
  failures: number
  notBeforeMs: number
}

export interface Download {
  readonly options: DownloadOptions
  /** Bytes of each chunk. */
  readonly lengths: Uint32Array
  readonly pool: ChunkPool
  readonly sources: Map<string, Source>
  readonly candidates: Map<string, Candidate>
  readonly banned: Set<string>
  /** Corrupt chunks by peer; kept when the source is lost, so that coming back does not clear it. */
  readonly badChunks: Map<string, Set<number>>
  /** Verified bytes by peer. */
  readonly delivered: Map<string, number>
  /** Bytes wanted at the start. */
  readonly wantedBytes: number
  duplicateBytes: number
  lastProgressMs: number
  isFinding: boolean
  /** Times that holders were looked for since the last progress. */
  findings: number
  lastFindMs: number
  /** When a source last made room for a peer that was not tried yet. */
  lastTrialMs: number
  /** Why the last source was lost. */
  lastLoss: string
  isOver: boolean
  /** Steps since the last check (base/invariants.ts). */
  uncheckedSteps: number
}

export type DownloadEvent =
  | { kind: 'start' }
  /** The answer to `find` (no peers when it failed), or peers known from another source. */
  | { kind: 'holders-found'; peers: string[]; wasAsked: boolean }
  | { kind: 'source-open'; peer: string; has: Bitfield; roundTripMs: number }
  | { kind: 'source-has'; peer: string; chunks: number[] }
  | { kind: 'source-lost'; peer: string; reason: string }
  /** Bytes of a chunk came; not verified yet. */
  | { kind: 'bytes'; peer: string; bytes: number }
  | { kind: 'chunk-corrupt'; peer: string; chunk: number }
  /** The source said that it does not have them after all. */
  | { kind: 'chunks-refused'; peer: string; chunks: number[] }
  /** The source is busy; an empty list means all requested chunks. */
  | { kind: 'source-busy'; peer: string; chunks: number[]; retryMs: number; alternatives: string[] }
  /** Another peer has these in flight to itself. */
  | { kind: 'claimed'; chunks: number[] }
  /** A chunk is verified and on disk; `from` is the source that sent it, undefined when it came in another way. */
  | { kind: 'chunk-held'; chunk: number; from: string | undefined }
  | { kind: 'tick' }

export type DownloadEffect =
  | { kind: 'find' }
  | { kind: 'connect'; peer: string }
  | { kind: 'close'; peer: string; reason: string }
  | { kind: 'request'; peer: string; chunks: number[] }
  | { kind: 'cancel'; peer: string; chunks: number[] }
  /** Tell this source, which fetches the context itself, what is in flight to us. */
  | { kind: 'claim'; peer: string; chunks: number[] }
  | { kind: 'ban'; peer: string; reason: string }
  | { kind: 'complete' }
  | { kind: 'give-up'; reason: string }

/** A download of `wanted` chunks out of `lengths.length`. */
export function newDownload(
  lengths: Uint32Array,
  wanted: readonly number[],
  banned: Iterable<string>,
  options: DownloadOptions,
): Download {
  return {
    options,
    lengths,
    pool: new ChunkPool(lengths.length, wanted),
    sources: new Map(),
    candidates: new Map(),
    banned: new Set(banned),
    badChunks: new Map(),
    delivered: new Map(),
    wantedBytes: wanted.reduce((sum, chunk) => sum + lengthOf({ lengths }, chunk), 0),
    duplicateBytes: 0,
    lastProgressMs: 0,
    isFinding: false,
    findings: 0,
    lastFindMs: 0,
    lastTrialMs: 0,
    lastLoss: '',
    isOver: false,
    uncheckedSteps: 0,
  }
}

/** Bytes of one chunk of the context. Throws `internal` for a number that is no chunk of it. */
export function lengthOf({ lengths }: Pick<Download, 'lengths'>, chunk: number): number {
  return present(lengths[chunk], 'a chunk of the download has a length', { chunk, chunks: lengths.length })
}

/** Second copies are asked for while they are fewer bytes than this. */
export function duplicateBytesMax({ wantedBytes }: Download): number {
  return Math.min(DUPLICATE_BYTES_MAX, wantedBytes * DUPLICATE_SHARE_MAX)
}

export function askedFor(download: Download, chunk: number): Source[] {
  return [...download.sources.values()].filter(({ requests }) => requests.has(chunk))
}

/** The source will not send `chunk`: it waits again, unless another was asked for it too. */
export function takeBack(download: Download, source: Source, chunk: number): void {
  if (!removeRequest(source, chunk)) return
  if (askedFor(download, chunk).length === 0) download.pool.release(chunk)
}

export function lose(download: Download, peer: string, reason: string, nowMs: number): void {
  const source = download.sources.get(peer)
  // The stream of a source that was dropped ends too.
  if (source === undefined) return
  for (const chunk of source.requests.keys()) takeBack(download, source, chunk)
  download.sources.delete(peer)
  download.pool.clear(source.slot)
  download.lastLoss = reason
  const { failures: before } = present(download.candidates.get(peer), 'a source is a candidate', { peer })
  const failures = source.verifiedChunks > 0 ? 1 : before + 1
  download.candidates.set(peer, { failures, notBeforeMs: nowMs + listedBackoffMs(RETRY_WAITS_MS, failures) })
}

export function drop(
  download: Download,
  source: Source,
  reason: string,
  nowMs: number,
  effects: DownloadEffect[],
): void {
  lose(download, source.peer, reason, nowMs)
  effects.push({ kind: 'close', peer: source.peer, reason })
}

export function bySpeed(download: Download): Source[] {
  return [...download.sources.values()].sort(
    (left, right) => expectedMs(left) - expectedMs(right) || (left.peer < right.peer ? -1 : 1),
  )
}
