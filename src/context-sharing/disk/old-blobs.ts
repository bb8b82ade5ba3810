import { link, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { syncFolder } from './disk.ts'
import type { StorePaths } from './store-paths.ts'

/**
 * Earlier stores named a blob by its file hash alone, with an empty file in `grids` for each chunk list that it was
 * checked against. Gives such blobs the names that they have now. What is not marked was never checked, and goes. A
 * crash in between is gone on from.
 */
export async function renameOldBlobs(paths: StorePaths): Promise<void> {
  const grids = join(paths.root, 'grids')
  const marks = await readdir(grids).catch(() => undefined)
  if (marks === undefined) return
  const blobs = paths.of('blobs')
  for (const key of marks) {
    const old = join(blobs, key.slice(0, key.indexOf('-')))
    await link(old, join(blobs, key)).catch(async (error: NodeJS.ErrnoException) => {
      // It has that name already, or is not there: then the mark says nothing. Else the file system has no links.
      if (error.code !== 'EEXIST' && error.code !== 'ENOENT') await rename(old, join(blobs, key))
    })
  }
  await syncFolder(blobs)
  for (const name of await readdir(blobs)) if (!name.includes('-')) await rm(join(blobs, name))
  await rm(grids, { recursive: true })
}
