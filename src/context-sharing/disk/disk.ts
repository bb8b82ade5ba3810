import { createHash, webcrypto } from 'node:crypto'
import { type FileHandle, open, rename, rm, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { HearthError } from '../../base/errors.ts'
import { nextTurn } from '../../base/event-loop.ts'
import { asStorageError } from '../../base/storage-errors.ts'

/** Bytes hashed in one turn of the event loop: 0.2 ms. */
const HASH_TURN_BYTES = 256 * 1024

export const FILE_MODE = 0o600
export const FOLDER_MODE = 0o700

/** Throws `disk-full` unless `bytes` can be written and `keepFreeBytes` stay free. */
export async function requireRoom(folder: string, bytes: number, keepFreeBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  const free = bavail * bsize
  if (free - bytes >= keepFreeBytes) return
  throw new HearthError(
    'disk-full',
    `cannot store ${bytes} bytes at ${folder}: only ${free} bytes are free there, and ${keepFreeBytes} must stay free. Free some space, or choose another data folder`,
    { data: { folder, bytes, freeBytes: free, keepFreeBytes } },
  )
}

/** Off the event loop, on libuv's pool. */
export async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await webcrypto.subtle.digest('SHA-256', bytes))
}

/**
 * The same on the event loop, a little in each turn, without the copy that is made for a thread: for what comes by
 * the gigabyte.
 */
export async function sha256InTurns(bytes: Uint8Array): Promise<Uint8Array> {
  const hash = createHash('sha256')
  for (let from = 0; from < bytes.byteLength; from += HASH_TURN_BYTES) {
    if (from > 0) await nextTurn()
    hash.update(bytes.subarray(from, from + HASH_TURN_BYTES))
  }
  return new Uint8Array(hash.digest())
}

export function bytesEqual(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

/** `length` bytes at `offset`, fewer when the file ends before: at the start of `buffer`, or in a new one. */
export async function readAt(
  file: FileHandle,
  offset: number,
  length: number,
  buffer: Uint8Array = new Uint8Array(length),
): Promise<Uint8Array> {
  const bytes = buffer.subarray(0, length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, offset + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return bytes.subarray(0, filled)
}

/** The part of a file that `writeAt` uses: a FileHandle, or a fake that runs out of room. */
export interface WritableAt {
  write(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesWritten: number }>
}

/** Writes all of `bytes`; a short write is continued, as POSIX allows it. */
export async function writeAt(file: WritableAt, offset: number, bytes: Uint8Array): Promise<void> {
  let written = 0
  while (written < bytes.byteLength) {
    const { bytesWritten } = await file.write(bytes, written, bytes.byteLength - written, offset + written)
    written += bytesWritten
  }
}

/** Makes renames, links and new files in `folder` survive a power cut. Windows cannot, and need not. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r+')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Puts `bytes` at `path` whole or not at all, and durably. `temporary` must be on the same file system. */
export async function replaceFile(path: string, temporary: string, bytes: Uint8Array): Promise<void> {
  try {
    const file = await open(temporary, 'w', FILE_MODE)
    try {
      await writeAt(file, 0, bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    await syncFolder(dirname(path))
  } catch (error) {
    await rm(temporary, { force: true })
    throw asStorageError(error, path)
  }
}
