import { CHUNK_BYTES } from '../../../base/limits.ts'
import type { Random } from '../../../base/random.ts'
import { type Download, type DownloadEffect, askedFor, bySpeed } from './download-state.ts'
import { type Source, addRequest, expectedMs, hasRoom } from './source.ts'

/** Second copies near the end: at most this part of all, but one in any case, and no more than so many bytes. */
const DUPLICATE_BYTES_MAX: number = 8 * CHUNK_BYTES
const DUPLICATE_SHARE_MAX = 0.01
/** A second copy near the end must come in half the time that the first still takes, which must be in flight this long, ms. */
const DUPLICATE_AGE_MS_MIN = 500
const DUPLICATE_GAIN = 2

/** Fills every source's window, beginning with the source that would deliver first. */
export function requestMore(
  download: Download,
  nowMs: number,
  random: Random,
  effects: DownloadEffect[],
): void {
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

export function claim(download: Download, source: Source, chunks: number[], effects: DownloadEffect[]): void {
  for (const other of download.sources.values()) {
    if (other !== source && other.has?.isFull === false)
      effects.push({ kind: 'claim', peer: other.peer, chunks })
  }
}

/** Near the end: a chunk that another source will take long to send, and this one would not. */
function takeDuplicate(download: Download, source: Source, nowMs: number): number | undefined {
  const budget = Math.min(DUPLICATE_BYTES_MAX, download.wantedBytes * DUPLICATE_SHARE_MAX)
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
