// Links inside a snapshot of Hugging Face's cache. Its layout
// (https://huggingface.co/docs/hub/local-cache): CACHE/models--OWNER--NAME/snapshots/COMMIT/PATH is a
// link to CACHE/models--OWNER--NAME/blobs/HASH, which is the file.
import { lstat, readlink } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { toHex } from '../disk/disk.ts'

/** A git hash of a small file, or the sha256 of a large one. */
const BLOB_NAME = /^([0-9a-f]{40}|[0-9a-f]{64})$/
const SHA256_NAME = /^[0-9a-f]{64}$/

/**
 * The file that a link of a snapshot stands for, as a path from the snapshot; undefined when `path` is
 * anything but a link to a blob of the same repository, directly.
 */
export async function blobBehindLink(
  snapshot: string,
  path: string,
  entry: { isSymbolicLink(): boolean },
): Promise<string | undefined> {
  const snapshots = dirname(resolve(snapshot))
  if (!entry.isSymbolicLink() || basename(snapshots) !== 'snapshots') return undefined
  const blobs = join(dirname(snapshots), 'blobs')
  const link = join(snapshot, path)
  const target = resolve(dirname(link), await readlink(link))
  const isBlob = dirname(target) === blobs && BLOB_NAME.test(basename(target))
  return isBlob && (await isFolder(blobs)) ? relative(resolve(snapshot), target) : undefined
}

/** The fault of a file copied from a blob whose name is its hash; undefined when it matches. */
export function blobFault(diskPath: string, sha256: Uint8Array): string | undefined {
  const name = basename(diskPath)
  const isNamedByHash = basename(dirname(diskPath)) === 'blobs' && SHA256_NAME.test(name)
  if (!isNamedByHash || name === toHex(sha256)) return undefined
  return `is damaged: its hash differs from the name of its blob. Delete ${diskPath} and download it again`
}

async function isFolder(path: string): Promise<boolean> {
  const stats = await lstat(path).catch(() => undefined)
  return stats?.isDirectory() === true
}
