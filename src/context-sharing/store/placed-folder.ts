import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { BlobStore } from '../disk/blob-store.ts'
import { FOLDER_MODE, syncFolder } from '../disk/disk.ts'
import { asStorageError } from '../../base/storage-errors.ts'
import type { HeldContext } from './held-context.ts'
import type { StorePaths } from '../disk/store-paths.ts'

/**
 * Makes the folder of a context whose files are all complete: every file under its own path. It is built
 * aside and renamed, so that it is there whole or not at all. Throws `disk-full`.
 */
export async function placeFolder(paths: StorePaths, blobs: BlobStore, context: HeldContext): Promise<void> {
  const aside = await paths.makeIncoming()
  const folder = paths.contextFolder(context.contextId)
  try {
    for (const file of context.manifest.files) {
      const target = join(aside, file.path)
      await mkdir(dirname(target), { recursive: true, mode: FOLDER_MODE })
      await blobs.place(file, target)
    }
    await blobs.sync()
    await rm(folder, { recursive: true, force: true })
    await rename(aside, folder)
    await syncFolder(dirname(folder))
  } catch (error) {
    await rm(aside, { recursive: true, force: true })
    throw asStorageError(error, folder)
  }
}

/** Whether every file is in its place with its length: a crash of the machine may have lost some. */
export async function isFolderWhole(paths: StorePaths, context: HeldContext): Promise<boolean> {
  for (const { path, size } of context.manifest.files) {
    const stats = await stat(join(paths.contextFolder(context.contextId), path)).catch(() => undefined)
    if (stats?.size !== size) return false
  }
  return true
}
