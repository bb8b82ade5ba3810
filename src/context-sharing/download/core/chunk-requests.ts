import type { Random } from '../../../base/random.ts'
import {
  type Download,
  type DownloadEffect,
  askedFor,
  bySpeed,
  duplicateBytesMax,
  lengthOf,
} from './download-state.ts'
import { type Source, addRequest, expectedMs, hasChunk, hasRoom } from './source.ts'

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
      addRequest(source, chunk, lengthOf(download, chunk), nowMs)
      chunks.push(chunk)
    }
    if (chunks.length === 0) continue
    effects.push({ kind: 'request', peer: source.peer, chunks })
    claim(download, source, chunks, effects)
  }
}

export function claim(download: Download, source: Source, chunks: number[], effects: DownloadEffect[]): void {
  for (const other of download.sources.values()) {
    if (other !== source && other.phase.kind === 'open' && !other.phase.has.isFull)
      effects.push({ kind: 'claim', peer: other.peer, chunks })
  }
}

/** Near the end: a chunk that another source will take long to send, and this one would not. */
function takeDuplicate(download: Download, source: Source, nowMs: number): number | undefined {
  if (download.pool.waitingCount > 0 || download.duplicateBytes >= duplicateBytesMax(download))
    return undefined
  let slowest: { chunk: number; leftMs: number } | undefined
  for (const other of download.sources.values()) {
    if (other === source) continue
    const leftMs = expectedMs(other)
    for (const [chunk, request] of other.requests) {
      if (!hasChunk(source, chunk) || nowMs - request.requestedMs < DUPLICATE_AGE_MS_MIN) continue
      if (leftMs < DUPLICATE_GAIN * expectedMs(source, request.bytes)) continue
      if (leftMs <= (slowest?.leftMs ?? 0) || askedFor(download, chunk).length > 1) continue
      slowest = { chunk, leftMs }
    }
  }
  if (slowest !== undefined) download.duplicateBytes += lengthOf(download, slowest.chunk)
  return slowest?.chunk
}
