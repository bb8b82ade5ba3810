import { HearthError, messageOf, type ErrorCode } from './errors.ts'

/** SQLite's primary result codes; the low byte of `errcode`. */
export const SQLITE = {
  error: 1,
  permission: 3,
  busy: 5,
  locked: 6,
  readOnly: 8,
  io: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  schema: 17,
  tooBig: 18,
  constraint: 19,
  mismatch: 20,
  format: 24,
  notADatabase: 26,
} as const

/** SQLite's extended codes of an I/O error that a full disk or a quota causes: write, fsync, truncate, shm size. */
const SQLITE_IO_WRITES: readonly number[] = [778, 1034, 1290, 1546, 4874]

const BY_ERRNO: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'disk-full',
  EDQUOT: 'disk-full',
  EFBIG: 'disk-full',
  EROFS: 'data-inaccessible',
  EACCES: 'data-inaccessible',
  EPERM: 'data-inaccessible',
  EIO: 'data-corrupt',
}

const BY_SQLITE: Readonly<Record<number, ErrorCode>> = {
  [SQLITE.permission]: 'data-inaccessible',
  [SQLITE.readOnly]: 'data-inaccessible',
  [SQLITE.cannotOpen]: 'data-inaccessible',
  [SQLITE.io]: 'data-corrupt',
  [SQLITE.corrupt]: 'data-corrupt',
  [SQLITE.full]: 'disk-full',
  [SQLITE.notADatabase]: 'data-corrupt',
}

/** SQLite's primary result code; undefined for an error of anything else. */
export function sqliteCodeOf(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : undefined
}

/**
 * The one translation of errors of files and of SQLite: `disk-full`, `data-inaccessible` or `data-corrupt` with the
 * path; any other error as it is.
 */
export function asStorageError(error: unknown, path: string): unknown {
  if (error instanceof HearthError) return error
  const code = codeOf(error)
  if (code === undefined) return error
  return new HearthError(code, WORDS[code](path, messageOf(error)), { data: { path }, cause: error })
}

/** The path that an error of a file names. */
export function pathOf(error: unknown): string | undefined {
  const path = (error as NodeJS.ErrnoException | undefined)?.path
  return typeof path === 'string' ? path : undefined
}

type StorageCode = 'disk-full' | 'data-inaccessible' | 'data-corrupt'

function codeOf(error: unknown): StorageCode | undefined {
  const sqlite = sqliteCodeOf(error)
  if (sqlite !== undefined) {
    const { errcode } = error as { errcode: number }
    return SQLITE_IO_WRITES.includes(errcode) ? 'disk-full' : (BY_SQLITE[sqlite] as StorageCode | undefined)
  }
  return BY_ERRNO[String((error as NodeJS.ErrnoException | undefined)?.code)] as StorageCode | undefined
}

const WORDS: Readonly<Record<StorageCode, (path: string, why: string) => string>> = {
  'disk-full': (path, why) =>
    `No room left to write ${path} (${why}). Free some space or raise the quota, then run the same command again; what was stored is safe`,
  'data-inaccessible': (path, why) =>
    `Cannot use ${path} (${why}). It, or its folder, is read-only or belongs to another user. Make it writable, or choose another data folder with --data FOLDER`,
  'data-corrupt': (path, why) =>
    `${path} is damaged (${why}). Check the disk, then restore the file from a backup or delete it`,
}
