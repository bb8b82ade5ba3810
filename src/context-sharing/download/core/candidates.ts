import { FETCH_CANDIDATES_MAX, FETCH_SOURCES_MAX } from '../../../base/limits.ts'
import { type Random, pick } from '../../../base/random.ts'
import type { Download, DownloadEffect } from './download-state.ts'
import { newSource } from './source.ts'

/** Peers from a search replace those that failed most; peers known by hearsay do not. */
export function addCandidates(download: Download, peers: readonly string[], wasAsked: boolean): void {
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
export function connect(download: Download, nowMs: number, random: Random, effects: DownloadEffect[]): void {
  while (download.sources.size < FETCH_SOURCES_MAX) {
    const peer = pick(random, readyCandidates(download, nowMs))
    if (peer === undefined) return
    download.sources.set(peer, newSource(peer, freeSlot(download)))
    effects.push({ kind: 'connect', peer })
  }
}

export function readyCandidates(download: Download, nowMs: number): string[] {
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
