import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { HearthError, isHearthError } from './errors.ts'
import { asStorageError, SQLITE, sqliteCodeOf } from './storage-errors.ts'

/**
 * Takes the lock file at `path` for this process; the returned function releases it. The system releases
 * it when the process ends, so no stale lock remains (an SQLite exclusive transaction, because Node has
 * no flock). Throws `data-in-use` with `message` while another process
 * has it, and `data-inaccessible`, `data-corrupt` or `disk-full` for a file that cannot be used.
 */
export function lockForThisProcess(path: string, message: string): () => void {
  let db: DatabaseSync | undefined
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    db = new DatabaseSync(path)
    db.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE')
  } catch (cause) {
    db?.close()
    if (sqliteCodeOf(cause) === SQLITE.busy)
      throw new HearthError('data-in-use', message, { data: { path }, cause })
    throw asStorageError(cause, path)
  }
  const locked = db
  return () => locked.close()
}

/** Whether any process holds the lock file at `path` now. */
export function isLocked(path: string): boolean {
  if (!existsSync(path)) return false
  try {
    lockForThisProcess(path, 'it is locked')()
    return false
  } catch (error) {
    if (isHearthError(error, 'data-in-use')) return true
    throw error
  }
}
