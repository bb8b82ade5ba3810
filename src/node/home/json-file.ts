// Small JSON files of the data folder, 0600.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { ZodType } from 'zod'
import { HearthError } from '../../base/errors.ts'
import { asStorageError } from '../../base/storage-errors.ts'

/** The checked content of a file; undefined when there is none. Throws `data-corrupt`, `data-inaccessible`. */
export function readJson<T>(path: string, schema: ZodType<T>): T | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw asStorageError(error, path)
  }
  try {
    return schema.parse(JSON.parse(text))
  } catch (cause) {
    throw new HearthError('data-corrupt', `${path} is corrupted. Delete it; Hearth writes a new one`, {
      data: { path },
      cause,
    })
  }
}

/** Writes atomically: to a temporary file that then replaces `path`. */
export function writeJson(path: string, value: object): void {
  const partial = `${path}.partial`
  try {
    writeFileSync(partial, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 })
    renameSync(partial, path)
  } catch (error) {
    throw asStorageError(error, path)
  }
}
