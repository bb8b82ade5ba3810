import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { HearthError, isHearthError } from './errors.ts'

/** SQLite's code for "another process has the lock". */
const SQLITE_BUSY = 5

/**
 * Takes the lock file at `path` for this process; the returned function releases it. The system releases
 * it when the process ends, so no stale lock remains (an SQLite exclusive transaction, because Node has
 * no flock). Throws `data-in-use` with `message` while another process has it.
 */
export function lockForThisProcess(path: string, message: string): () => void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const db = new DatabaseSync(path)
  try {
    db.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE')
  } catch (cause) {
    db.close()
    const isBusy =
      cause instanceof Error && 'errcode' in cause && (Number(cause.errcode) & 0xff) === SQLITE_BUSY
    throw isBusy ? new HearthError('data-in-use', message, { data: { path }, cause }) : cause
  }
  return () => db.close()
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
