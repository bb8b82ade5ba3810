import { invariant } from '../../../base/invariants.ts'
import {
  CHUNKS_REQUESTED_MAX,
  FETCH_CANDIDATES_MAX,
  FETCH_SOURCES_MAX,
  SOURCE_WINDOW_BYTES_MAX,
} from '../../../base/limits.ts'
import { type Download, duplicateBytesMax, lengthOf } from './download-state.ts'
import { type Source, hasChunk } from './source.ts'

/** A chunk is asked of one source, and of a second one when the first is late. */
const COPIES_MAX = 2

/** Throws `internal` when an invariant of the download does not hold between two steps. */
export function checkDownload(download: Download): void {
  download.pool.check()
  checkPeers(download)
  const asked = new Map<number, number>()
  for (const source of download.sources.values()) checkSource(download, source, asked)
  checkChunks(download, asked)
  checkBytes(download)
}

function checkPeers({ sources, candidates, banned }: Download): void {
  const counts = { sources: sources.size, candidates: candidates.size }
  invariant(sources.size <= FETCH_SOURCES_MAX, 'sources are bounded', counts)
  invariant(candidates.size <= FETCH_CANDIDATES_MAX, 'candidates are bounded', counts)
  for (const peer of candidates.keys())
    invariant(!banned.has(peer), 'a banned peer is no candidate', { peer })
  const slots = new Set<number>()
  for (const [peer, source] of sources) {
    const { slot } = source
    invariant(source.peer === peer, 'a source is filed under its peer', { peer, filed: source.peer })
    invariant(candidates.has(peer), 'a source is a candidate', { peer })
    invariant(slot < FETCH_SOURCES_MAX && !slots.has(slot), 'each source has a slot of its own', {
      peer,
      slot,
    })
    slots.add(slot)
  }
}

/** Counts in `asked` of how many sources each chunk is asked. */
function checkSource(download: Download, source: Source, asked: Map<number, number>): void {
  const { peer, phase, requests, requestedBytes, stalledSinceMs } = source
  const values = { peer, requests: requests.size, requestedBytes }
  invariant(
    phase.kind === 'open' || requests.size === 0,
    'nothing is asked of a source before it is open',
    values,
  )
  invariant(requests.size <= CHUNKS_REQUESTED_MAX, 'the chunks asked of a source are bounded', values)
  const isSpared = stalledSinceMs === undefined || requests.size <= 1
  invariant(isSpared, 'a stalled source keeps one chunk at most', values)
  let bytes = 0
  for (const [chunk, request] of requests) {
    invariant(hasChunk(source, chunk), 'a chunk is asked of a source that has it', { peer, chunk })
    const length = lengthOf(download, chunk)
    invariant(request.bytes === length, 'a request is for its whole chunk', { peer, chunk, length })
    bytes += request.bytes
    asked.set(chunk, (asked.get(chunk) ?? 0) + 1)
  }
  invariant(bytes === requestedBytes, 'the bytes asked of a source are those of its requests', values)
  for (const chunk of download.badChunks.get(peer) ?? [])
    invariant(!hasChunk(source, chunk), 'a source does not count for a chunk that it sent corrupt', {
      peer,
      chunk,
    })
}

function checkChunks(download: Download, asked: ReadonlyMap<number, number>): void {
  const { pool, sources, delivered, wantedBytes } = download
  const all = [...sources.values()]
  let missingBytes = 0
  for (let chunk = 0; chunk < pool.chunkCount; chunk += 1) {
    const copies = asked.get(chunk) ?? 0
    invariant(copies <= COPIES_MAX, 'a chunk is asked of two sources at most', { chunk, copies })
    invariant(pool.isTaken(chunk) === copies > 0, 'a chunk is taken while it is asked of a source', {
      chunk,
      copies,
    })
    let holders = 0
    for (const source of all) if (hasChunk(source, chunk)) holders |= 1 << source.slot
    const known = pool.holdersOf(chunk)
    invariant(holders === known, 'the pool knows who has a chunk', { chunk, holders, known })
    if (pool.isWanted(chunk)) missingBytes += lengthOf(download, chunk)
  }
  let deliveredBytes = 0
  for (const bytes of delivered.values()) deliveredBytes += bytes
  invariant(
    deliveredBytes + missingBytes <= wantedBytes,
    'no chunk is delivered twice, nor when it is here',
    {
      deliveredBytes,
      missingBytes,
      wantedBytes,
    },
  )
}

function checkBytes(download: Download): void {
  const { pool, isOver, duplicateBytes, sources } = download
  invariant(isOver || pool.wantedCount > 0, 'a download is over when nothing is missing', {
    wanted: pool.wantedCount,
  })
  // The last chunk that is asked for may go over a bound. The simulator has larger ones than peers.
  const chunkBytesMax = download.lengths.reduce((longest, bytes) => Math.max(longest, bytes), 0)
  const mostBytes = duplicateBytesMax(download) + chunkBytesMax
  invariant(duplicateBytes <= mostBytes, 'second copies are bounded', { duplicateBytes, mostBytes })
  for (const { peer, requestedBytes } of sources.values()) {
    const isBounded = requestedBytes <= SOURCE_WINDOW_BYTES_MAX + chunkBytesMax
    invariant(isBounded, 'the bytes asked of a source are bounded', { peer, requestedBytes })
  }
}
