import type { ScrubPosition } from '../../store/store-memory.ts'

/*
 * Which chunk is read and hashed again next, and when: files in the order of their keys, each chunk once
 * in a pass. The pass takes two weeks, or less where the store is small, so that damage is found while
 * other peers still have the chunk, and the disk and the owner feel nothing of it.
 */

const PASS_MS: number = 14 * 24 * 3_600_000
/** At most one chunk, a MiB, a second; at least one a minute. */
const WAIT_MS_MIN = 1000
const WAIT_MS_MAX = 60_000

/** A file to be scrubbed. */
export interface ScrubFile {
  key: string
  chunks: number
}

/** How long to wait before the next chunk when there are so many in all, ms. */
export function scrubWaitMs(chunkCount: number): number {
  return Math.min(WAIT_MS_MAX, Math.max(WAIT_MS_MIN, PASS_MS / Math.max(1, chunkCount)))
}

/**
 * The next chunk after `position`: of the same file, or the first of the next one, or of the first file
 * when the pass is over. Undefined when there is no file. `files` is ordered by key.
 */
export function nextToScrub(
  files: readonly ScrubFile[],
  position: ScrubPosition,
): { file: ScrubFile; chunk: number } | undefined {
  const here = files.find(({ key, chunks }) => key === position.file && position.chunk < chunks)
  if (here !== undefined) return { file: here, chunk: position.chunk }
  const next = files.find(({ key }) => key > position.file) ?? files[0]
  return next === undefined ? undefined : { file: next, chunk: 0 }
}
