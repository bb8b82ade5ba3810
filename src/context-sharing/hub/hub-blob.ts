// Downloads one hub file into the cache. Resumes after a kill; a file counts only once its hash is verified.
import { pipe } from 'it-pipe'
import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { constants, open, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { isHearthError } from '../../base/errors.ts'
import { syncFolder, writeAt } from '../disk/disk.ts'
import { asStorageError } from '../../base/storage-errors.ts'
import type { HubClient, HubFile } from './hub-client.ts'
import { hubFailure } from './hub-errors.ts'
import { Patience } from './patience.ts'

export interface BlobDownload {
  clock: Clock
  client: Pick<HubClient, 'bytes'>
  commit: string
  file: HubFile
  /** The blob's final path; until it is complete it lies beside it, as `PATH.incomplete`. */
  path: string
  /** Called with the total bytes of the file that are here. */
  onBytes: (bytes: number) => void
  /** Called before the next attempt, which follows after `ms`. */
  onWait: (reason: string, ms: number) => void
  signal: AbortSignal | undefined
}

/** The bytes of a blob in progress, and their running hash. */
interface Filling {
  handle: FileHandle
  hash: Hash
  bytes: number
  /** The largest number of bytes that was ever here. */
  bytesReached: number
}

/** Bytes of a blob that are here, complete or not. */
export async function heldBytesOf(path: string, { size }: HubFile): Promise<number> {
  if ((await sizeOf(path)) === size) return size
  return Math.min(size, (await sizeOf(incompletePath(path))) ?? 0)
}

/**
 * Downloads a blob unless it is here. Throws `download-failed`, `deadline-passed`, `disk-full` or the
 * signal's reason; what arrived stays for the next time.
 */
export async function downloadBlob(download: BlobDownload): Promise<void> {
  const { path, file, onBytes } = download
  if ((await sizeOf(path)) === file.size) return onBytes(file.size)
  const wasBegun = (await sizeOf(incompletePath(path))) !== undefined
  if (await fillAndPlace(download)) return
  // Bytes of an earlier run or of another program may be wrong, so download the file once more from the start.
  if (wasBegun && (await fillAndPlace(download))) return
  throw hubFailure(
    `${file.path} arrived damaged: its hash differs from the one that the hub lists. Run the command again; if it repeats, check the proxy`,
    { reason: 'corrupt' },
  )
}

/** Moves a complete file into its place and returns whether it did. A file with a wrong hash is deleted. */
async function fillAndPlace(download: BlobDownload): Promise<boolean> {
  const { path, file, signal } = download
  const incomplete = incompletePath(path)
  const handle = await open(incomplete, constants.O_RDWR | constants.O_CREAT, 0o644)
  try {
    const filling: Filling = { handle, hash: hashOf(file), bytes: 0, bytesReached: 0 }
    await takeOver(incomplete, filling, file, signal)
    await fill(filling, download)
    if (filling.hash.digest('hex') !== file.hash) {
      await rm(incomplete)
      return false
    }
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(incomplete, path)
  await syncFolder(dirname(path))
  return true
}

/** Hashes the bytes that an earlier run left; bytes that cannot be the start of the file are deleted. */
async function takeOver(
  path: string,
  filling: Filling,
  file: HubFile,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { size } = await filling.handle.stat()
  if (size > file.size) return await restart(filling, file)
  // A stream that receives the signal throws its own error instead of the signal's reason.
  for await (const bytes of createReadStream(path)) {
    signal?.throwIfAborted()
    count(filling, bytes as Uint8Array)
  }
}

async function restart(filling: Filling, file: HubFile): Promise<void> {
  await filling.handle.truncate(0)
  filling.hash = hashOf(file)
  filling.bytes = 0
}

function count(filling: Filling, bytes: Uint8Array): void {
  filling.hash.update(bytes)
  filling.bytes += bytes.byteLength
}

/** Asks until all bytes are here. */
async function fill(filling: Filling, download: BlobDownload): Promise<void> {
  const { clock, client, commit, file, path, onBytes, onWait, signal } = download
  const patience = new Patience(clock, onWait, signal)
  onBytes(filling.bytes)
  while (filling.bytes < file.size) {
    try {
      await pipe(
        client.bytes(commit, file, filling.bytes, signal),
        (parts) => append(filling, parts, path),
        async (totals) => await follow(filling, totals, { patience, onBytes }),
      )
      if (filling.bytes < file.size)
        throw hubFailure(`the download of ${file.path} ended early`, { reason: 'unreachable' })
    } catch (error) {
      // The hub sends whole files only, so the download cannot resume.
      if (isNoRange(error) && filling.bytes > 0) await restart(filling, file)
      else await patience.waitAfter(error)
    }
  }
}

/** Writes and hashes what arrives; gives the bytes that are here after each part. */
async function* append(
  filling: Filling,
  parts: AsyncIterable<Uint8Array>,
  path: string,
): AsyncGenerator<number> {
  for await (const bytes of parts) {
    try {
      await writeAt(filling.handle, filling.bytes, bytes)
    } catch (error) {
      throw asStorageError(error, path)
    }
    count(filling, bytes)
    yield filling.bytes
  }
}

/** Reports progress. More bytes than ever before are a success, after which failures count anew. */
async function follow(
  filling: Filling,
  totals: AsyncIterable<number>,
  { patience, onBytes }: { patience: Patience; onBytes: (bytes: number) => void },
): Promise<void> {
  for await (const bytes of totals) {
    onBytes(bytes)
    if (bytes <= filling.bytesReached) continue
    filling.bytesReached = bytes
    patience.renew()
  }
}

/** Large files are named by their sha256, small ones by git's hash of a blob. */
export function hashOf({ hash, size }: HubFile): Hash {
  return hash.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)
}

function isNoRange(error: unknown): boolean {
  return isHearthError(error, 'download-failed') && error.data['reason'] === 'no-range'
}

function incompletePath(path: string): string {
  return `${path}.incomplete`
}

async function sizeOf(path: string): Promise<number | undefined> {
  const stats = await stat(path).catch(() => undefined)
  return stats?.size
}
