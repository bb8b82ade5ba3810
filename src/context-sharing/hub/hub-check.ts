import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { hashOf } from './hub-blob.ts'
import type { HubFile } from './hub-client.ts'

/** The first difference between local files and the hub's list; undefined when they match. Reads each file whole. */
export async function filesFault(folder: string, files: readonly HubFile[]): Promise<string | undefined> {
  for (const file of files) {
    const stats = await stat(join(folder, file.path)).catch(() => undefined)
    if (stats?.size !== file.size) return `${file.path} does not have the size that the hub lists`
    const bytes = await readFile(join(folder, file.path))
    if (hashOf(file).update(bytes).digest('hex') !== file.hash)
      return `${file.path} does not have the hash that the hub lists`
  }
  return undefined
}
