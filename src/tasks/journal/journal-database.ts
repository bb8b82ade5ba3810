// The journal's tables, its lock, and the row of its job.
import { HearthError } from '../../base/errors.ts'
import { isLocked, lockForThisProcess } from '../../base/process-lock.ts'
import { damagedJournal, type JournalFile, type Row } from './journal-file.ts'
import { hashOf } from './row-hash.ts'

/** The layout of the journal's tables: docs/protocol/journal.md. */
const JOURNAL_VERSION = 4
/** Upgrades the tables of an older version to the next one. A journal of any other version is refused. */
const UPGRADES: Readonly<Record<number, string>> = {
  2: `
  ALTER TABLE request ADD COLUMN holder INTEGER;
  CREATE TABLE copy (n INTEGER, epoch INTEGER, holder INTEGER, PRIMARY KEY (n, epoch, holder)) WITHOUT ROWID;
`,
  3: `
  ALTER TABLE job ADD COLUMN requests INTEGER;
  ALTER TABLE job ADD COLUMN hash INTEGER;
  ALTER TABLE request ADD COLUMN keyHash INTEGER;
  ALTER TABLE request ADD COLUMN bodyHash INTEGER;
  ALTER TABLE result ADD COLUMN hash INTEGER;
  UPDATE job SET requests = (SELECT count(*) FROM request);
  UPDATE request SET keyHash = row_hash(n, line, customId), bodyHash = row_hash(n, url, body);
  UPDATE result SET hash = row_hash(n, epoch, peer, ok, statusCode, body, promptTokens, completionTokens, committedAtMs);
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

/** The row of a job: its record, and what changes while it runs. */
export interface JobRow {
  job: JobRecord
  state: JobState
  /** How many lines the input has. */
  requests: number
}

const TABLES = `
  CREATE TABLE job (version INTEGER, jobId TEXT, context TEXT, contextId TEXT, inputPath TEXT, inputSha256 TEXT, outputPath TEXT,
    createdAtMs INTEGER, isDetached INTEGER, state TEXT, requests INTEGER, hash INTEGER);
  CREATE TABLE request (n INTEGER PRIMARY KEY, line INTEGER, customId TEXT UNIQUE, url TEXT, body TEXT,
    epoch INTEGER NOT NULL DEFAULT 0, holder INTEGER, keyHash INTEGER, bodyHash INTEGER);
  CREATE TABLE copy (n INTEGER, epoch INTEGER, holder INTEGER, PRIMARY KEY (n, epoch, holder)) WITHOUT ROWID;
  CREATE TABLE peer (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
  INSERT INTO peer VALUES (0, '');
  CREATE TABLE result (n INTEGER PRIMARY KEY, epoch INTEGER, peer INTEGER, ok INTEGER, statusCode INTEGER, body TEXT,
    promptTokens INTEGER, completionTokens INTEGER, committedAtMs INTEGER, hash INTEGER);
`

/** The columns of a job's row that its hash covers. */
const JOB_COLUMNS = [
  'version',
  'jobId',
  'context',
  'contextId',
  'inputPath',
  'inputSha256',
  'outputPath',
  'createdAtMs',
  'isDetached',
  'state',
  'requests',
] as const

export function createTables(file: JournalFile): void {
  file.exec(TABLES)
}

/** Writes the row of the job in the place of the one that is there. */
export function writeJobRow(file: JournalFile, { job, state, requests }: JobRow): void {
  const { isDetached, ...facts } = job
  const row: Row = { ...facts, version: JOURNAL_VERSION, isDetached: isDetached ? 1 : 0, state, requests }
  const values = JOB_COLUMNS.map((column) => row[column] ?? null)
  file.exec('DELETE FROM job')
  file
    .prepare(`INSERT INTO job (${JOB_COLUMNS.join(', ')}, hash) VALUES (${'?, '.repeat(values.length)}?)`)
    .run(...values, hashOf(...values))
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

/**
 * The job of a journal, its tables upgraded to this version; undefined when its creation was interrupted.
 * Throws `data-corrupt` when the row is damaged or of a version that this Hearth does not read.
 */
export function readJobRow(file: JournalFile): JobRow | undefined {
  const exists = file.prepare("SELECT 1 FROM sqlite_master WHERE name = 'job'").get()
  if (exists === undefined) {
    // Tables and lines are made in one transaction, so an interrupted one leaves an empty file.
    if (Number(file.prepare('PRAGMA page_count').get()?.['page_count']) <= 1) return undefined
    throw damagedJournal(file.path, 'it has no table of the job')
  }
  if (onlyRow(file)['version'] !== JOURNAL_VERSION) file.transact(() => upgrade(file))
  const row = onlyRow(file)
  if (hashOf(...JOB_COLUMNS.map((column) => row[column] ?? null)) !== row['hash'])
    throw damagedJournal(file.path, 'the row of the job does not have its hash')
  return toJobRow(row)
}

function onlyRow(file: JournalFile): Row {
  const row = file.prepare('SELECT * FROM job').get()
  if (row === undefined) throw damagedJournal(file.path, 'the row of the job is missing')
  return row
}

function toJobRow(row: Row): JobRow {
  const { version: _version, hash: _hash, state, requests, isDetached, ...job } = row
  return {
    job: { ...(job as unknown as JobRecord), isDetached: isDetached === 1 },
    state: state as JobState,
    requests: requests as number,
  }
}

/** Reads the version again in its transaction: another process may upgrade the same journal. */
function upgrade(file: JournalFile): void {
  let version = Number(onlyRow(file)['version'])
  for (; version !== JOURNAL_VERSION; version += 1) {
    const tables = UPGRADES[version]
    if (tables === undefined) {
      throw new HearthError(
        'data-corrupt',
        `${file.path} is a journal of version ${version}, and this Hearth reads versions 2 to ${JOURNAL_VERSION}: use the version of Hearth that wrote it`,
      )
    }
    file.exec(tables)
  }
  writeJobRow(file, toJobRow(onlyRow(file)))
}
