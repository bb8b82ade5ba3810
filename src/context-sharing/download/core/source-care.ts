import { FETCH_SOURCES_MAX } from '../../../base/limits.ts'
import { readyCandidates } from './candidates.ts'
import {
  type Download,
  type DownloadEffect,
  askedFor,
  bySpeed,
  drop,
  lengthOf,
  takeBack,
} from './download-state.ts'
import { type Source, addRequest, hasChunk, hasRoom, isOverdue, isSilent } from './source.ts'

/** A stalled source is left after this, ms. */
const STALLED_MS_MAX = 30_000
/** A chunk that takes longer than this is taken from its source, however slowly it trickles, ms. */
const CHUNK_AGE_MS_MAX = 180_000
/** A source without anything wanted makes room for another after this, ms. */
const USELESS_MS_MAX = 10_000
/** How often a source makes room for a peer that was not tried yet, and how long each has to show what it can, ms. */
const TRIAL_EVERY_MS = 2000
const TRIAL_MS = 4000

export function checkSource(
  download: Download,
  source: Source,
  nowMs: number,
  effects: DownloadEffect[],
): void {
  if (source.stalledSinceMs !== undefined && nowMs - source.stalledSinceMs > STALLED_MS_MAX) {
    return drop(download, source, 'it sends nothing', nowMs, effects)
  }
  const oldestMs = Math.min(...[...source.requests.values()].map(({ requestedMs }) => requestedMs))
  if (nowMs - oldestMs > CHUNK_AGE_MS_MAX) return drop(download, source, 'it is too slow', nowMs, effects)
  if (isUseless(download, source, nowMs)) {
    return drop(download, source, 'it has none of the missing chunks', nowMs, effects)
  }
  if (source.isRetiring && source.requests.size === 0) {
    return drop(download, source, 'another peer may be faster', nowMs, effects)
  }
  if (source.stalledSinceMs === undefined && isSilent(source, nowMs)) stall(download, source, nowMs, effects)
  hedge(download, source, nowMs, effects)
}

/** Whether the source is useless while another peer waits for its place. */
export function isUseless(download: Download, source: Source, nowMs: number): boolean {
  return (
    source.requests.size === 0 &&
    nowMs - source.lastUsefulMs > USELESS_MS_MAX &&
    download.sources.size >= FETCH_SOURCES_MAX &&
    readyCandidates(download, nowMs).length > 0
  )
}

/**
 * While there are peers that were not tried yet, one of them takes the place of the slowest source every so
 * often. Those that were found first are often the same for all who fetch: their uplinks are shared by all,
 * while those of peers that came later stand idle. What the slowest was asked for is waited for, and one that
 * alone has something that is missing stays.
 */
export function makeRoomForUntried(download: Download, nowMs: number): void {
  if (download.sources.size < FETCH_SOURCES_MAX || nowMs - download.lastTrialMs < TRIAL_EVERY_MS) return
  let slowest: Source | undefined
  for (const source of download.sources.values()) {
    if (source.isRetiring) return
    if (source.phase.kind !== 'open' || nowMs - source.phase.openedMs < TRIAL_MS) continue
    if (source.rateBytesPerSecond >= (slowest?.rateBytesPerSecond ?? Number.POSITIVE_INFINITY)) continue
    if (!download.pool.needs(source.slot)) slowest = source
  }
  if (slowest === undefined || !hasUntried(download, nowMs)) return
  download.lastTrialMs = nowMs
  slowest.isRetiring = true
}

function hasUntried(download: Download, nowMs: number): boolean {
  for (const [peer, { failures, notBeforeMs }] of download.candidates) {
    if (failures === 0 && notBeforeMs <= nowMs && !download.sources.has(peer)) return true
  }
  return false
}

/** Its chunks go to other sources, except one that can show that it is alive. */
export function stall(download: Download, source: Source, nowMs: number, effects: DownloadEffect[]): void {
  source.stalledSinceMs = nowMs
  const [, ...released] = source.requests.keys()
  for (const chunk of released) takeBack(download, source, chunk)
  if (released.length > 0) effects.push({ kind: 'cancel', peer: source.peer, chunks: released })
}

/**
 * Asks another source for what is overdue: two copies at most. Of two that are both with stalled sources,
 * one is taken back for it: those who never send must not keep a chunk between them, nor those who
 * always put us off.
 */
export function hedge(download: Download, source: Source, nowMs: number, effects: DownloadEffect[]): void {
  for (const [chunk, request] of source.requests) {
    if (!isOverdue(source, request, nowMs)) continue
    const asked = askedFor(download, chunk)
    if (asked.length > 1 && !asked.every((one) => isGivenUp(one, chunk, nowMs))) continue
    const [other] = bySpeed(download)
      .filter(
        (other) =>
          other.stalledSinceMs === undefined &&
          !asked.includes(other) &&
          hasRoom(other, nowMs) &&
          hasChunk(other, chunk),
      )
      .sort((left, right) => left.busyAnswers - right.busyAnswers)
    if (other === undefined) continue
    if (asked.length > 1) {
      takeBack(download, source, chunk)
      effects.push({ kind: 'cancel', peer: source.peer, chunks: [chunk] })
    }
    addRequest(other, chunk, lengthOf(download, chunk), nowMs)
    effects.push({ kind: 'request', peer: other.peer, chunks: [chunk] })
  }
}

function isGivenUp(source: Source, chunk: number, nowMs: number): boolean {
  const request = source.requests.get(chunk)
  return source.stalledSinceMs !== undefined && request !== undefined && isOverdue(source, request, nowMs)
}
