import { writeFile } from 'node:fs/promises'
import { FILE_MODE, asDiskError } from './disk.ts'
import type { ContextFile } from './manifest.ts'
import type { StorePaths } from './store-paths.ts'

/**
 * Says that whatever has the file's hash has the file's chunks: its blob is claimed by that when a store is opened.
 * So it is written before the blob has its name. A mark whose blob is not there does not count, and one that is
 * lost in a crash costs reading the blob again. Throws `disk-full`.
 */
export async function markGrid(paths: StorePaths, file: ContextFile): Promise<void> {
  const path = paths.grid(file)
  try {
    await writeFile(path, '', { mode: FILE_MODE })
  } catch (error) {
    throw asDiskError(error, path)
  }
}
