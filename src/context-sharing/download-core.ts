import { CHUNK_BYTES, FETCH_CANDIDATES_MAX, FETCH_SOURCES_MAX } from '../base/limits.ts'
import { type Random, pick } from '../base/random.ts'
import { Bitfield } from './bitfield.ts'
import { ChunkPool } from './chunk-pool-core.ts'
import {
  type Source,
  addRequest,
  expectedMs,
  hasRoom,
  isOverdue,
  isSilent,
  newSource,
  noteBytes,
  removeRequest,
} from './source-core.ts'

/*
 * Which chunk to ask of whom. A chunk goes from waiting (asked of nobody) to taken (asked of one source,
 * or of two when the first is overdue or the fetch is nearly over) to here; it goes back to waiting when
 * every source that was asked for it is lost, refuses, stalls, or sends something else. So no chunk is
 * asked for twice without a cause, and none is forgotten. sim/ drives this same code.
 */

/** Waits before a lost source is tried again, and before holders are looked for again, ms. */
const BACK_OFF_MS = [1000, 2000, 5000, 15_000, 30_000]
/** How often more holders are looked for while there is room for sources, ms. */
const FIND_MORE_MS = 30_000
/** A stalled source is left after this, ms. */
const STALLED_MS_MAX = 30_000
/** A chunk that takes longer than this is taken from its source, however slowly it trickles, ms. */
const CHUNK_AGE_MS_MAX = 180_000
/** A source without anything wanted makes room for another after this, ms. */
const USELESS_MS_MAX = 10_000
/** Corrupt chunks after which a source is banned. One may be an accident of its disk. */
const BAD_CHUNKS_MAX = 2
/** Chunks announced and then refused, after which a source is left. */
const REFUSALS_MAX = 16
const BUSY_MS_MAX = 30_000
/** Second copies near the end: at most these bytes, or this part of all. */
const DUPLICATE_BYTES_MAX: number = 8 * CHUNK_BYTES
const DUPLICATE_SHARE_MAX = 0.01
/** A second copy near the end must come in half the time that the first still takes, which must be in flight this long, ms. */
const DUPLICATE_AGE_MS_MIN = 500
const DUPLICATE_GAIN = 2

export interface DownloadOptions {
  /** Without one new byte for this long the download is given up, ms. */
  unavailableAfterMs: number
}

/** A peer that may become a source. */
interface Candidate {
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
  /** Why the last source was lost. */
  lastLoss: string
  isOver: boolean
}

export type DownloadEvent =
  | { kind: 'start' }
  /** The answer to `find`, also when it failed (then no peers), or peers heard of otherwise. */
  | { kind: 'holders-found'; peers: string[]; wasAsked: boolean }
  | { kind: 'source-open'; peer: string; has: Bitfield; roundTripMs: number }
  | { kind: 'source-has'; peer: string; chunks: number[] }
  | { kind: 'source-lost'; peer: string; reason: string }
  /** Bytes of a chunk came; not verified yet. */
  | { kind: 'bytes'; peer: string; bytes: number }
  /** A chunk from this source is verified and on disk. */
  | { kind: 'chunk-verified'; peer: string; chunk: number }
  | { kind: 'chunk-corrupt'; peer: string; chunk: number }
  /** The source said that it does not have them after all. */
  | { kind: 'chunks-refused'; peer: string; chunks: number[] }
  /** Not now; no chunks means all that were asked for. */
  | { kind: 'source-busy'; peer: string; chunks: number[]; retryMs: number; alternatives: string[] }
  /** Another peer has these in flight to itself. */
  | { kind: 'claimed'; chunks: number[] }
  /** A chunk came to be on disk in another way. */
  | { kind: 'chunk-held'; chunk: number }
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
    wantedBytes: wanted.reduce((sum, chunk) => sum + (lengths[chunk] ?? 0), 0),
    duplicateBytes: 0,
    lastProgressMs: 0,
    isFinding: false,
    findings: 0,
    lastFindMs: 0,
    lastLoss: '',
    isOver: false,
  }
}

/** Takes in one event and says what is to be done. A `tick` should come every quarter of a second. */
export function step(
  download: Download,
  event: DownloadEvent,
  nowMs: number,
  random: Random,
): DownloadEffect[] {
  if (download.isOver) return []
  const effects: DownloadEffect[] = []
  apply(download, event, nowMs, random, effects)
  if (download.pool.wantedCount === 0 && !download.isOver)
    return finish(download, effects, { kind: 'complete' })
  if (event.kind !== 'bytes' && !download.isOver) requestMore(download, nowMs, random, effects)
  return effects
}

function apply(
  download: Download,
  event: DownloadEvent,
  nowMs: number,
  random: Random,
  effects: DownloadEffect[],
): void {
  switch (event.kind) {
    case 'start':
      download.lastProgressMs = nowMs
      return find(download, effects)
    case 'holders-found':
      return onHolders(download, event.peers, event.wasAsked, nowMs, random, effects)
    case 'source-open':
      return onOpen(download, event, nowMs, effects)
    case 'source-lost':
      lose(download, event.peer, event.reason, nowMs)
      return connect(download, nowMs, random, effects)
    case 'claimed':
      for (const chunk of event.chunks) download.pool.claim(chunk, nowMs)
      return
    case 'chunk-held':
      return onHeld(download, event.chunk, effects)
    case 'tick':
      return onTick(download, nowMs, random, effects)
    default:
      return onSourceEvent(download, event, nowMs, random, effects)
  }
}

type SourceEvent = Extract<
  DownloadEvent,
  { kind: 'source-has' | 'bytes' | 'chunk-verified' | 'chunk-corrupt' | 'chunks-refused' | 'source-busy' }
>

function onSourceEvent(
  download: Download,
  event: SourceEvent,
  nowMs: number,
  random: Random,
  effects: DownloadEffect[],
): void {
  const source = download.sources.get(event.peer)
  switch (event.kind) {
    case 'chunk-verified':
      return onVerified(download, event.peer, event.chunk, nowMs, effects)
    case 'chunk-corrupt':
      return onCorrupt(download, event.peer, event.chunk, nowMs, effects)
    case 'bytes':
      download.lastProgressMs = nowMs
      if (source !== undefined) noteBytes(source, event.bytes, nowMs)
      return
    case 'source-has':
      if (source !== undefined) for (const chunk of event.chunks) giveChunk(download, source, chunk)
      return
    case 'chunks-refused':
      if (source !== undefined) onRefused(download, source, event.chunks, nowMs, effects)
      return
    case 'source-busy':
      if (source !== undefined) onBusy(download, source, event, nowMs, effects)
      addCandidates(download, event.alternatives, false)
      return connect(download, nowMs, random, effects)
  }
}

function onHolders(
  download: Download,
  peers: readonly string[],
  wasAsked: boolean,
  nowMs: number,
  random: Random,
  effects: DownloadEffect[],
): void {
  if (wasAsked) {
    download.isFinding = false
    download.findings += 1
    download.lastFindMs = nowMs
  }
  addCandidates(download, peers, wasAsked)
  connect(download, nowMs, random, effects)
}

/** Peers found by asking take the place of those that failed most; hearsay does not. */
function addCandidates(download: Download, peers: readonly string[], wasAsked: boolean): void {
  for (const peer of peers) {
    if (download.banned.has(peer) || download.candidates.has(peer)) continue
    if (download.candidates.size >= FETCH_CANDIDATES_MAX && !(wasAsked && forgetWorst(download))) continue
    download.candidates.set(peer, { failures: 0, notBeforeMs: 0 })
  }
}

function forgetWorst(download: Download): boolean {
  let worst: string | undefined
  let failures = 0
  for (const [peer, candidate] of download.candidates) {
    if (candidate.failures <= failures || download.sources.has(peer)) continue
    worst = peer
    failures = candidate.failures
  }
  return worst !== undefined && download.candidates.delete(worst)
}

/** Connects to those that failed least, while there is room. */
function connect(download: Download, nowMs: number, random: Random, effects: DownloadEffect[]): void {
  while (download.sources.size < FETCH_SOURCES_MAX) {
    const peer = pick(random, readyCandidates(download, nowMs))
    if (peer === undefined) return
    download.sources.set(peer, newSource(peer, freeSlot(download)))
    effects.push({ kind: 'connect', peer })
  }
}

function readyCandidates(download: Download, nowMs: number): string[] {
  let failures = Number.POSITIVE_INFINITY
  let ready: string[] = []
  for (const [peer, candidate] of download.candidates) {
    if (candidate.notBeforeMs > nowMs || candidate.failures > failures || download.sources.has(peer)) continue
    if (candidate.failures < failures) ready = []
    failures = candidate.failures
    ready.push(peer)
  }
  return ready
}

function freeSlot(download: Download): number {
  const used = new Set([...download.sources.values()].map(({ slot }) => slot))
  let slot = 0
  while (used.has(slot)) slot += 1
  return slot
}

function onOpen(
  download: Download,
  event: Extract<DownloadEvent, { kind: 'source-open' }>,
  nowMs: number,
  effects: DownloadEffect[],
): void {
  const source = download.sources.get(event.peer)
  if (source?.phase !== 'connecting') {
    if (source === undefined) effects.push({ kind: 'close', peer: event.peer, reason: 'not wanted any more' })
    return
  }
  source.phase = 'open'
  source.has = new Bitfield(download.pool.chunkCount)
  source.roundTripMs = event.roundTripMs
  source.lastUsefulMs = nowMs
  for (const chunk of event.has) giveChunk(download, source, chunk)
}

function giveChunk(download: Download, source: Source, chunk: number): void {
  if (chunk < 0 || chunk >= download.pool.chunkCount) return
  if (download.badChunks.get(source.peer)?.has(chunk) === true) return
  source.has?.add(chunk)
  download.pool.add(source.slot, chunk)
}

function withdrawChunk(download: Download, source: Source, chunk: number): void {
  source.has?.delete(chunk)
  download.pool.remove(source.slot, chunk)
  takeBack(download, source, chunk)
}

/** The source will not send `chunk`: it waits again, unless another was asked for it too. */
function takeBack(download: Download, source: Source, chunk: number): void {
  if (!removeRequest(source, chunk)) return
  if (askedFor(download, chunk).length === 0) download.pool.release(chunk)
}

function askedFor(download: Download, chunk: number): Source[] {
  return [...download.sources.values()].filter(({ requests }) => requests.has(chunk))
}

function onVerified(
  download: Download,
  peer: string,
  chunk: number,
  nowMs: number,
  effects: DownloadEffect[],
): void {
  download.lastProgressMs = nowMs
  download.findings = 0
  const source = download.sources.get(peer)
  if (source !== undefined) {
    removeRequest(source, chunk)
    source.verifiedChunks += 1
  }
  if (!download.pool.isWanted(chunk)) return
  download.delivered.set(peer, (download.delivered.get(peer) ?? 0) + (download.lengths[chunk] ?? 0))
  onHeld(download, chunk, effects)
}

function onHeld(download: Download, chunk: number, effects: DownloadEffect[]): void {
  download.pool.hold(chunk)
  for (const source of askedFor(download, chunk)) {
    removeRequest(source, chunk)
    effects.push({ kind: 'cancel', peer: source.peer, chunks: [chunk] })
  }
}

function onCorrupt(
  download: Download,
  peer: string,
  chunk: number,
  nowMs: number,
  effects: DownloadEffect[],
): void {
  const bad = download.badChunks.get(peer) ?? new Set()
  download.badChunks.set(peer, bad.add(chunk))
  const source = download.sources.get(peer)
  if (source !== undefined) withdrawChunk(download, source, chunk)
  if (bad.size < BAD_CHUNKS_MAX || download.banned.has(peer)) return
  const reason = `${bad.size} of its chunks were corrupt`
  lose(download, peer, reason, nowMs)
  download.candidates.delete(peer)
  download.banned.add(peer)
  effects.push({ kind: 'ban', peer, reason })
}

function onRefused(
  download: Download,
  source: Source,
  chunks: readonly number[],
  nowMs: number,
  effects: DownloadEffect[],
): void {
  for (const chunk of chunks) withdrawChunk(download, source, chunk)
  source.refusals += chunks.length
  if (source.refusals >= REFUSALS_MAX)
    drop(download, source, 'it refuses chunks that it announced', nowMs, effects)
}

function onBusy(
  download: Download,
  source: Source,
  event: Extract<DownloadEvent, { kind: 'source-busy' }>,
  nowMs: number,
  effects: DownloadEffect[],
): void {
  const chunks = event.chunks.length === 0 ? [...source.requests.keys()] : event.chunks
  for (const chunk of chunks) takeBack(download, source, chunk)
  source.busyUntilMs = nowMs + Math.min(BUSY_MS_MAX, Math.max(0, event.retryMs))
  if (isUseless(download, source, nowMs)) drop(download, source, 'it is busy', nowMs, effects)
}

/** Whether the source gives nothing while another peer waits for its place. */
function isUseless(download: Download, source: Source, nowMs: number): boolean {
  return (
    source.requests.size === 0 &&
    nowMs - source.lastUsefulMs > USELESS_MS_MAX &&
    download.sources.size >= FETCH_SOURCES_MAX &&
    readyCandidates(download, nowMs).length > 0
  )
}

function onTick(download: Download, nowMs: number, random: Random, effects: DownloadEffect[]): void {
  download.pool.expireClaims(nowMs)
  for (const source of download.sources.values()) {
    if (source.phase === 'open') checkSource(download, source, nowMs, effects)
  }
  connect(download, nowMs, random, effects)
  findWhenDue(download, nowMs, effects)
  if (nowMs - download.lastProgressMs >= download.options.unavailableAfterMs) {
    finish(download, effects, { kind: 'give-up', reason: whyNothingCame(download) })
  }
}

function checkSource(download: Download, source: Source, nowMs: number, effects: DownloadEffect[]): void {
  if (source.stalledSinceMs !== undefined && nowMs - source.stalledSinceMs > STALLED_MS_MAX) {
    return drop(download, source, 'it sends nothing', nowMs, effects)
  }
  const oldestMs = Math.min(...[...source.requests.values()].map(({ requestedMs }) => requestedMs))
  if (nowMs - oldestMs > CHUNK_AGE_MS_MAX) return drop(download, source, 'it is too slow', nowMs, effects)
  if (isUseless(download, source, nowMs)) {
    return drop(download, source, 'it has nothing that is missing', nowMs, effects)
  }
  if (source.stalledSinceMs === undefined && isSilent(source, nowMs)) stall(download, source, nowMs, effects)
  hedge(download, source, nowMs, effects)
}

/** Its chunks go to others, but for one by which it can show that it is alive. */
function stall(download: Download, source: Source, nowMs: number, effects: DownloadEffect[]): void {
  source.stalledSinceMs = nowMs
  const [, ...released] = source.requests.keys()
  for (const chunk of released) takeBack(download, source, chunk)
  if (released.length > 0) effects.push({ kind: 'cancel', peer: source.peer, chunks: released })
}

/** Asks another source for what is overdue: two copies at most. */
function hedge(download: Download, source: Source, nowMs: number, effects: DownloadEffect[]): void {
  for (const [chunk, request] of source.requests) {
    if (!isOverdue(source, request, nowMs) || askedFor(download, chunk).length > 1) continue
    const other = bySpeed(download).find(
      (other) => other !== source && hasRoom(other, nowMs) && other.has?.has(chunk) === true,
    )
    if (other === undefined) continue
    addRequest(other, chunk, download.lengths[chunk] ?? 0, nowMs)
    effects.push({ kind: 'request', peer: other.peer, chunks: [chunk] })
  }
}

function findWhenDue(download: Download, nowMs: number, effects: DownloadEffect[]): void {
  if (download.isFinding) return
  const waitMs = isStarving(download, nowMs) ? backOffMs(download.findings) : FIND_MORE_MS
  if (download.sources.size >= FETCH_SOURCES_MAX && waitMs === FIND_MORE_MS) return
  if (nowMs - download.lastFindMs >= waitMs) find(download, effects)
}

function find(download: Download, effects: DownloadEffect[]): void {
  download.isFinding = true
  effects.push({ kind: 'find' })
}

/** Whether no source is sending, or could be asked for, anything. */
function isStarving(download: Download, nowMs: number): boolean {
  return [...download.sources.values()].every(
    ({ requests, slot, busyUntilMs }) =>
      requests.size === 0 && (busyUntilMs > nowMs || !download.pool.canGive(slot)),
  )
}

function lose(download: Download, peer: string, reason: string, nowMs: number): void {
  const source = download.sources.get(peer)
  if (source === undefined) return
  for (const chunk of source.requests.keys()) takeBack(download, source, chunk)
  download.sources.delete(peer)
  download.pool.clear(source.slot)
  download.lastLoss = reason
  const failures = source.verifiedChunks > 0 ? 1 : (download.candidates.get(peer)?.failures ?? 0) + 1
  download.candidates.set(peer, { failures, notBeforeMs: nowMs + backOffMs(failures) })
}

function drop(
  download: Download,
  source: Source,
  reason: string,
  nowMs: number,
  effects: DownloadEffect[],
): void {
  lose(download, source.peer, reason, nowMs)
  effects.push({ kind: 'close', peer: source.peer, reason })
}

function backOffMs(failures: number): number {
  return BACK_OFF_MS[Math.min(BACK_OFF_MS.length, Math.max(1, failures)) - 1] ?? 0
}

/** Fills every source's window, the one that would have it first first. */
function requestMore(download: Download, nowMs: number, random: Random, effects: DownloadEffect[]): void {
  for (const source of bySpeed(download)) {
    const chunks: number[] = []
    while (hasRoom(source, nowMs)) {
      const chunk = download.pool.take(source.slot, random) ?? takeDuplicate(download, source, nowMs)
      if (chunk === undefined) break
      addRequest(source, chunk, download.lengths[chunk] ?? 0, nowMs)
      chunks.push(chunk)
    }
    if (chunks.length === 0) continue
    effects.push({ kind: 'request', peer: source.peer, chunks })
    claim(download, source, chunks, effects)
  }
}

function claim(download: Download, source: Source, chunks: number[], effects: DownloadEffect[]): void {
  for (const other of download.sources.values()) {
    if (other !== source && other.has?.isFull === false)
      effects.push({ kind: 'claim', peer: other.peer, chunks })
  }
}

function bySpeed(download: Download): Source[] {
  return [...download.sources.values()].sort(
    (left, right) => expectedMs(left) - expectedMs(right) || (left.peer < right.peer ? -1 : 1),
  )
}

/** Near the end: a chunk that another source will take long to send, and this one would not. */
function takeDuplicate(download: Download, source: Source, nowMs: number): number | undefined {
  const budget = Math.max(DUPLICATE_BYTES_MAX, download.wantedBytes * DUPLICATE_SHARE_MAX)
  if (download.pool.waitingCount > 0 || download.duplicateBytes >= budget) return undefined
  let slowest: { chunk: number; leftMs: number } | undefined
  for (const other of download.sources.values()) {
    if (other === source) continue
    const leftMs = expectedMs(other)
    for (const [chunk, request] of other.requests) {
      if (source.has?.has(chunk) !== true || nowMs - request.requestedMs < DUPLICATE_AGE_MS_MIN) continue
      if (leftMs < DUPLICATE_GAIN * expectedMs(source, request.bytes)) continue
      if (leftMs <= (slowest?.leftMs ?? 0) || askedFor(download, chunk).length > 1) continue
      slowest = { chunk, leftMs }
    }
  }
  if (slowest !== undefined) download.duplicateBytes += download.lengths[slowest.chunk] ?? 0
  return slowest?.chunk
}

function whyNothingCame(download: Download): string {
  const missing = `${download.pool.wantedCount} chunks are missing`
  if (download.candidates.size === 0) return `${missing}, and no peer is known to hold the context`
  const connected = [...download.sources.values()].filter(({ phase }) => phase === 'open').length
  const loss = download.lastLoss === '' ? '' : `; the last one lost: ${download.lastLoss}`
  return `${missing}; of ${download.candidates.size} peers that may hold the context, ${connected} are connected, and none sends anything${loss}`
}

function finish(
  download: Download,
  effects: DownloadEffect[],
  last: Extract<DownloadEffect, { kind: 'complete' | 'give-up' }>,
): DownloadEffect[] {
  download.isOver = true
  effects.push(last)
  return effects
}
