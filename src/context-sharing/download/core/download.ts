import { isCheckDue } from '../../../base/invariants.ts'
import { FETCH_SOURCES_MAX } from '../../../base/limits.ts'
import type { Random } from '../../../base/random.ts'
import { listedBackoffMs } from '../../../base/waiting/backoff.ts'
import { addCandidates, connect } from './candidates.ts'
import { requestMore } from './chunk-requests.ts'
import {
  type Download,
  type DownloadEffect,
  type DownloadEvent,
  RETRY_WAITS_MS,
  askedFor,
  drop,
  lengthOf,
  lose,
  takeBack,
} from './download-state.ts'
import { checkSource, isUseless, makeRoomForUntried } from './source-care.ts'
import { checkDownload } from './download-check.ts'
import { type Source, hasChunk, noteBytes, openSource, removeRequest } from './source.ts'

export { newDownload } from './download-state.ts'
export type { Download, DownloadEffect, DownloadEvent, DownloadOptions } from './download-state.ts'

/*
 * Decides which chunk to request from which source. A chunk goes from waiting (not requested) to taken
 * (requested from one source, or from two when the first is overdue or the fetch is nearly over) to here; it goes back to waiting when
 * every source that was asked for it is lost, refuses, stalls, or sends something else. So no chunk is
 * requested twice without a cause, and none is forgotten. sim/ runs this same code.
 */

/** How often the download searches for holders while it has room for sources, ms. */
const FIND_MORE_MS = 30_000
/** Corrupt chunks after which a source is banned. One may be an accident of its disk. */
const BAD_CHUNKS_MAX = 2
/** Chunks announced and then refused, after which a source is left. */
const REFUSALS_MAX = 16
const BUSY_MS_MAX = 30_000

/** Takes one event and returns its effects. A `tick` should come every quarter of a second. */
export function step(
  download: Download,
  event: DownloadEvent,
  nowMs: number,
  random: Random,
): DownloadEffect[] {
  // Streams and look-ups end after the download does.
  if (download.isOver) return []
  const effects = take(download, event, nowMs, random)
  // Bytes change rates alone.
  if (event.kind !== 'bytes' && isCheckDue(download, download.pool.chunkCount)) checkDownload(download)
  return effects
}

function take(download: Download, event: DownloadEvent, nowMs: number, random: Random): DownloadEffect[] {
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
      return onHeld(download, event.chunk, event.from, nowMs, effects)
    case 'tick':
      return onTick(download, nowMs, random, effects)
    default:
      return onSourceEvent(download, event, nowMs, random, effects)
  }
}

type SourceEvent = Extract<
  DownloadEvent,
  { kind: 'source-has' | 'bytes' | 'chunk-corrupt' | 'chunks-refused' | 'source-busy' }
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

function onOpen(
  download: Download,
  event: Extract<DownloadEvent, { kind: 'source-open' }>,
  nowMs: number,
  effects: DownloadEffect[],
): void {
  const source = download.sources.get(event.peer)
  if (source === undefined) {
    // It was lost, or dropped, while its stream was being opened.
    effects.push({ kind: 'close', peer: event.peer, reason: 'no longer wanted' })
    return
  }
  // A peer that was lost and dialled again may have two streams for a moment: the first one counts.
  if (source.phase.kind === 'open') return
  openSource(source, download.pool.chunkCount, event.roundTripMs, nowMs)
  for (const chunk of event.has) giveChunk(download, source, chunk)
}

function giveChunk(download: Download, source: Source, chunk: number): void {
  // A late word of an earlier stream of this peer: it tells anew what it has when this one is open.
  if (source.phase.kind !== 'open') return
  // A peer may name any number.
  if (chunk < 0 || chunk >= download.pool.chunkCount) return
  if (download.badChunks.get(source.peer)?.has(chunk) === true) return
  source.phase.has.add(chunk)
  download.pool.add(source.slot, chunk)
}

function withdrawChunk(download: Download, source: Source, chunk: number): void {
  // A peer may refuse any number, also what it never had.
  if (!hasChunk(source, chunk)) return
  if (source.phase.kind === 'open') source.phase.has.delete(chunk)
  download.pool.remove(source.slot, chunk)
  takeBack(download, source, chunk)
}

function onHeld(
  download: Download,
  chunk: number,
  from: string | undefined,
  nowMs: number,
  effects: DownloadEffect[],
): void {
  if (from !== undefined) onSent(download, from, chunk, nowMs)
  // It may have come from two sources, or be here by another fetch of the same files.
  if (!download.pool.isWanted(chunk)) return
  download.pool.hold(chunk)
  for (const source of askedFor(download, chunk)) {
    removeRequest(source, chunk)
    effects.push({ kind: 'cancel', peer: source.peer, chunks: [chunk] })
  }
}

/** A source sent a chunk that is right. */
function onSent(download: Download, peer: string, chunk: number, nowMs: number): void {
  download.lastProgressMs = nowMs
  download.findings = 0
  const source = download.sources.get(peer)
  if (source !== undefined) {
    removeRequest(source, chunk)
    source.verifiedChunks += 1
    source.busyAnswers = 0
  }
  if (!download.pool.isWanted(chunk)) return
  download.delivered.set(peer, (download.delivered.get(peer) ?? 0) + lengthOf(download, chunk))
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
  const reason = `${bad.size} of its chunks were corrupted`
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
  source.busyAnswers += 1
  source.busyUntilMs = nowMs + Math.min(BUSY_MS_MAX, Math.max(0, event.retryMs))
  if (isUseless(download, source, nowMs)) drop(download, source, 'it is busy', nowMs, effects)
}

function onTick(download: Download, nowMs: number, random: Random, effects: DownloadEffect[]): void {
  download.pool.expireClaims(nowMs)
  makeRoomForUntried(download, nowMs)
  for (const source of download.sources.values()) {
    if (source.phase.kind === 'open') checkSource(download, source, nowMs, effects)
  }
  connect(download, nowMs, random, effects)
  findWhenDue(download, nowMs, effects)
  if (nowMs - download.lastProgressMs >= download.options.unavailableAfterMs) {
    finish(download, effects, { kind: 'give-up', reason: whyNothingCame(download) })
  }
}

function findWhenDue(download: Download, nowMs: number, effects: DownloadEffect[]): void {
  if (download.isFinding) return
  const waitMs = isStarving(download, nowMs)
    ? listedBackoffMs(RETRY_WAITS_MS, Math.max(1, download.findings))
    : FIND_MORE_MS
  if (download.sources.size >= FETCH_SOURCES_MAX && waitMs === FIND_MORE_MS) return
  if (nowMs - download.lastFindMs >= waitMs) find(download, effects)
}

function find(download: Download, effects: DownloadEffect[]): void {
  download.isFinding = true
  effects.push({ kind: 'find' })
}

/** Whether no source sends a chunk or could be asked for one. */
function isStarving(download: Download, nowMs: number): boolean {
  return [...download.sources.values()].every(
    ({ requests, slot, busyUntilMs }) =>
      requests.size === 0 && (busyUntilMs > nowMs || !download.pool.canGive(slot)),
  )
}

function whyNothingCame(download: Download): string {
  const missing = `${download.pool.wantedCount} chunks are missing`
  if (download.candidates.size === 0) return `${missing}, and no known peer has the context`
  const connected = [...download.sources.values()].filter(({ phase }) => phase.kind === 'open').length
  const loss = download.lastLoss === '' ? '' : `; the last lost source: ${download.lastLoss}`
  return `${missing}; ${connected} of ${download.candidates.size} peers that may have the context are connected, and none sends anything${loss}`
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
