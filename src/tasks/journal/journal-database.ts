// The journal's file: its tables, its lock, and its errors.
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { HearthError } from '../../base/errors.ts'
import { isLocked, lockForThisProcess } from '../../base/process-lock.ts'

/** The layout of the journal's tables: docs/protocol/journal.md. */
const JOURNAL_VERSION = 3
/** Upgrades the tables of an older version to the next one. A journal of any other version is refused. */
const UPGRADES: Readonly<Record<number, string>> = {
  2: `
  ALTER TABLE request ADD COLUMN holder INTEGER;
  CREATE TABLE copy (n INTEGER, epoch INTEGER, holder INTEGER, PRIMARY KEY (n, epoch, holder)) WITHOUT ROWID;
`,
}

/** The fixed facts of a job, set when it is created. */
export interface JobRecord {
  jobId: string
  /** The context as the submitter named it: a name, or a CID. */
  context: string
  /** The context's CID; '' until it is known. */
  contextId: string
  inputPath: string
  inputSha256: string
  outputPath: string
  createdAtMs: number
  /** Whether the local peer runs the job instead of the command that submitted it. */
  isDetached: boolean
}

/** open: runs until every line is settled. cancelled: unsettled lines became error lines. */
export type JobState = 'open' | 'cancelled'

type JobRow = Omit<JobRecord, 'isDetached'> & { version: number; state: JobState; isDetached: number }

const TABLES = `
  CREATE TABLE job (version INTEGER, jobId TEXT, context TEXT, contextId TEXT, inputPath TEXT, inputSha256 TEXT, outputPath TEXT, createdAtMs INTEGER, isDetached INTEGER, state TEXT);
  CREATE TABLE request (n INTEGER PRIMARY KEY, line INTEGER, customId TEXT UNIQUE, url TEXT, body TEXT, epoch INTEGER NOT NULL DEFAULT 0, holder INTEGER);
  CREATE TABLE copy (n INTEGER, epoch INTEGER, holder INTEGER, PRIMARY KEY (n, epoch, holder)) WITHOUT ROWID;
  CREATE TABLE peer (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
  INSERT INTO peer VALUES (0, '');
  CREATE TABLE result (n INTEGER PRIMARY KEY, epoch INTEGER, peer INTEGER, ok INTEGER, statusCode INTEGER, body TEXT,
    promptTokens INTEGER, completionTokens INTEGER, committedAtMs INTEGER);
`

/** Throws SQLite's own errors, because the caller must roll back its transaction. */
export function createTables(db: DatabaseSync, job: JobRecord): void {
  db.exec(TABLES)
  db.prepare('INSERT INTO job VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)').run(
    JOURNAL_VERSION,
    job.jobId,
    job.context,
    job.contextId,
    job.inputPath,
    job.inputSha256,
    job.outputPath,
    job.createdAtMs,
    job.isDetached ? 1 : 0,
    'open' satisfies JobState,
  )
}

/** One process runs a job at a time; the lock ends with the process, even at a crash. */
export function lockJob(path: string): () => void {
  return lockForThisProcess(
    lockPath(path),
    `this job is already running in another process (${path}): wait for it, or stop it and run the command again`,
  )
}

/** Whether a process runs the job of this journal now. */
export function isJobRunning(path: string): boolean {
  return isLocked(lockPath(path))
}

function lockPath(path: string): string {
  return `${path}.lock`
}

/** Throws `data-corrupt` or `disk-full`. */
export function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | undefined
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    // Only this user may read it, because prompts may be secret; SQLite gives its side files the same mode.
    closeSync(openSync(path, 'a', 0o600))
    db = new DatabaseSync(path)
    db.exec('PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    return db
  } catch (error) {
    db?.close()
    throw asHearthError(error, path)
  }
}

/** The job of a journal; undefined when its creation was interrupted. Closes the file when it throws. */
export function readJob(db: DatabaseSync, path: string): JobRecord | undefined {
  try {
    const exists = db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'job'").get()
    if (exists === undefined) return undefined
    if (readRow(db).version !== JOURNAL_VERSION) upgrade(db, path)
    const { version: _version, state: _state, isDetached, ...job } = readRow(db)
    return { ...job, isDetached: isDetached === 1 }
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    db.close()
    throw asHearthError(error, path)
  }
}

function readRow(db: DatabaseSync): JobRow {
  return db.prepare('SELECT * FROM job').get() as unknown as JobRow
}

/** One transaction, which reads the version again: another process may upgrade the same journal. */
function upgrade(db: DatabaseSync, path: string): void {
  db.exec('BEGIN IMMEDIATE')
  for (let { version } = readRow(db); version !== JOURNAL_VERSION; version += 1) {
    const tables = UPGRADES[version]
    if (tables === undefined) {
      throw new HearthError(
        'data-corrupt',
        `${path} is a journal of version ${version}, and this Hearth reads versions 2 to ${JOURNAL_VERSION}: use the version of Hearth that wrote it`,
      )
    }
    db.exec(tables)
  }
  db.prepare('UPDATE job SET version = ?').run(JOURNAL_VERSION)
  db.exec('COMMIT')
}

/** Translates SQLite's errors into Hearth's. */
export function asHearthError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof HearthError || !('errcode' in error)) return error
  const primary = Number(error.errcode) & 0xff
  if (primary === 5) {
    return new HearthError(
      'data-in-use',
      `this job is already running in another process (${path} is open there): wait for it, or stop it and run the command again`,
      {
        cause: error,
      },
    )
  }
  if (primary === 13)
    return new HearthError(
      'disk-full',
      `no room left to write ${path}: free some space, then run the same command again`,
      { cause: error },
    )
  if (primary === 10)
    return new HearthError(
      'disk-full',
      `cannot write ${path} (${error.message}): check the disk and its quota, then run the same command again. Committed results are safe`,
      { cause: error },
    )
  if (primary === 11 || primary === 26)
    return new HearthError(
      'data-corrupt',
      `${path} is damaged (${error.message}): restore the file from a backup, or delete it and submit the job again`,
      { cause: error },
    )
  return error
}
