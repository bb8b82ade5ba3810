import { type FileHandle, open } from 'node:fs/promises'
import type { ChunkJournal } from './chunk-journal.ts'
import { FILE_MODE } from './disk.ts'

/** A file in progress and its journal, open for writing. */
export interface OpenFiles {
  data: FileHandle
  journal: ChunkJournal
}

/** A file of `size` bytes that takes room only where it is written. */
export async function openSparse(path: string, size: number): Promise<FileHandle> {
  const handle = await open(path, 'r+').catch(async (error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return await open(path, 'w+', FILE_MODE)
  })
  if ((await handle.stat()).size !== size) await handle.truncate(size)
  return handle
}

/** Makes the chunks durable, and then the journal say so. */
export async function sync({ data, journal }: OpenFiles): Promise<void> {
  await data.datasync()
  await journal.durable()
}

/** Closes both, whatever becomes of what is to be done before. */
export async function closeBoth(
  { data, journal }: OpenFiles,
  before = async (): Promise<void> => {},
): Promise<void> {
  try {
    await before()
  } finally {
    await data.close()
    await journal.close()
  }
}
