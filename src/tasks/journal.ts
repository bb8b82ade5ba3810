import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { HearthError } from '../base/errors.ts'
import { lockForThisProcess } from '../base/process-lock.ts'
import { isLineError, type JobLine, type LineError } from './job-file.ts'
import type { RequestRange } from './pending-requests.ts'
import type { LeaseKey, TaskResult } from './task-messages.ts'

/** The layout of the journal's tables; a journal of another version is refused. docs/protocol/journal.md. */
const JOURNAL_VERSION = 1

/** Bad lines that are kept to be shown; of more, only the count. */
const LINE_ERRORS_KEPT = 1000

/** What a job is, fixed when it is made. */
export interface JobRecord {
  jobId: string
  /** The context as the submitter named it: a name, or a CID. */
  context: string
  /** The CID it stands for; '' until that is known. */
  contextId: string
  inputPath: string
  inputSha256: string
  outputPath: string
  createdAtMs: number
  /** Whether the running peer carries it, rather than the command that submitted it. */
  isDetached: boolean
}

/** open: to be run until every line is settled. cancelled: what was not settled became an error line. */
export type JobState = 'open' | 'cancelled'

/** A settled request, as an output line needs it. */
export interface JournalLine {
  n: number
  customId: string
  ok: boolean
  statusCode: number
  body: string
  peer: string
}

/** A result to be made durable, and the peer that it came from; '' when it is our own error line. */
export interface CommitEntry {
  peer: string
  result: TaskResult
}

/** What became of a result that was to be committed. */
export type CommitVerdict = 'committed' | 'duplicate' | 'stale'

export interface JournalCounts {
  requests: number
  committed: number
  failed: number
  promptTokens: number
  completionTokens: number
}

type JobRow = Omit<JobRecord, 'isDetached'> & { version: number; state: JobState; isDetached: number }

const SCHEMA = `
  CREATE TABLE job (version INTEGER, jobId TEXT, context TEXT, contextId TEXT, inputPath TEXT, inputSha256 TEXT, outputPath TEXT, createdAtMs INTEGER, isDetached INTEGER, state TEXT);
  CREATE TABLE request (n INTEGER PRIMARY KEY, line INTEGER, customId TEXT UNIQUE, url TEXT, body TEXT, epoch INTEGER NOT NULL DEFAULT 0);
  CREATE TABLE result (n INTEGER PRIMARY KEY, epoch INTEGER, peer TEXT, ok INTEGER, statusCode INTEGER, body TEXT,
    promptTokens INTEGER, completionTokens INTEGER, committedAtMs INTEGER);
`

/**
 * The submitter's durable record of one job, in one SQLite file: every request, the epoch of its
 * newest lease, and every committed result. The truth; output files are made from it.
 *
 * A result is committed by one statement that checks the epoch (the fence) and the primary key
 * (exactly once) together. `synchronous=FULL`: what `commit` returned survives a power cut.
 */
export class Journal {
  #job: JobRecord
  #unlock: () => void
  #counts: JournalCounts
  #db: DatabaseSync
  #lease: StatementSync
  #commit: StatementSync
  #read: StatementSync
  #has: StatementSync

  /**
   * Opens the journal at `path` to run its job; undefined when there is none. Throws `data-in-use`
   * while another process runs it, `data-corrupt` when it is damaged or of another version.
   */
  static open(path: string): Journal | undefined {
    if (!existsSync(path)) return undefined
    const unlock = lockJob(path)
    return Journal.#openWith(path, unlock)
  }

  /** Opens a journal to read it, whoever runs its job meanwhile; undefined when there is none. */
  static read(path: string): Journal | undefined {
    return existsSync(path) ? Journal.#openWith(path, () => {}) : undefined
  }

  static #openWith(path: string, unlock: () => void): Journal | undefined {
    try {
      const db = openDatabase(path)
      const job = readJob(db, path)
      if (job !== undefined) return new Journal(db, job, unlock)
      db.close()
      unlock()
      return undefined
    } catch (error) {
      unlock()
      throw error
    }
  }

  /**
   * Makes a journal from a job's lines, all or nothing. Throws `input-invalid` with every bad line
   * (`data.errors`, the first 1,000, and `data.errorCount`) before anything can run.
   */
  static async create(
    path: string,
    job: JobRecord,
    lines: AsyncIterable<JobLine | LineError>,
  ): Promise<Journal> {
    const unlock = lockJob(path)
    const db = openDatabase(path)
    try {
      db.exec('BEGIN')
      db.exec(SCHEMA)
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
      await insertRequests(db, job.inputPath, lines)
      db.exec('COMMIT')
      return new Journal(db, job, unlock)
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK')
      db.close()
      unlock()
      throw asHearthError(error, path)
    }
  }

  private constructor(db: DatabaseSync, job: JobRecord, unlock: () => void) {
    this.#unlock = unlock
    this.#job = job
    this.#counts = countRows(db)
    this.#db = db
    this.#lease = db.prepare('UPDATE request SET epoch = ? WHERE n = ?')
    this.#commit = db.prepare(`
      INSERT INTO result SELECT request.n, ?, ?, ?, ?, ?, ?, ?, ? FROM request
      WHERE request.n = ? AND request.epoch = ? ON CONFLICT (n) DO NOTHING`)
    this.#has = db.prepare('SELECT 1 FROM result WHERE n = ?')
    this.#read = db.prepare('SELECT url, body FROM request WHERE n = ?')
  }

  get job(): JobRecord {
    return this.#job
  }

  /** Fixes which context the job runs on, once and for all: a name may come to mean another. */
  bindContext(contextId: string): void {
    this.#db.prepare('UPDATE job SET contextId = ?').run(contextId)
    this.#job = { ...this.#job, contextId }
  }

  /**
   * One durable group: first the leases given out since the last one, then results. Says of each
   * result whether it was committed, came second, or was under an epoch that is not the newest.
   * Throws `disk-full`, and then nothing of the group is committed.
   */
  commit(leases: readonly LeaseKey[], results: readonly CommitEntry[], wallMs: number): CommitVerdict[] {
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      for (const { n, epoch } of leases) this.#lease.run(epoch, n)
      const committed = results.map((entry) => this.#commitOne(entry, wallMs))
      this.#db.exec('COMMIT')
      for (const [index, { result }] of results.entries())
        if (committed[index] === 'committed') this.#count(result)
      return committed
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw asHearthError(error, 'the journal')
    }
  }

  #commitOne({ peer, result }: CommitEntry, wallMs: number): CommitVerdict {
    const { n, epoch, outcome, statusCode, body, promptTokens, completionTokens } = result
    const ok = outcome === 'ok' ? 1 : 0
    const done = this.#commit.run(
      epoch,
      peer,
      ok,
      statusCode,
      body,
      promptTokens,
      completionTokens,
      wallMs,
      n,
      epoch,
    )
    if (Number(done.changes) === 1) return 'committed'
    return this.#has.get(n) === undefined ? 'stale' : 'duplicate'
  }

  #count({ outcome, promptTokens, completionTokens }: TaskResult): void {
    this.#counts.committed += 1
    if (outcome !== 'ok') this.#counts.failed += 1
    this.#counts.promptTokens += promptTokens
    this.#counts.completionTokens += completionTokens
  }

  /** What a peer needs to run a request. */
  request(n: number): { url: string; body: string } {
    return this.#read.get(n) as { url: string; body: string }
  }

  /** The requests without a result, as ranges in the file's order. */
  unsettledRanges(): RequestRange[] {
    const ranges: RequestRange[] = []
    const rows = this.#db
      .prepare(
        'SELECT request.n AS n FROM request LEFT JOIN result ON result.n = request.n WHERE result.n IS NULL ORDER BY request.n',
      )
      .iterate()
    for (const row of rows) {
      const n = Number(row['n'])
      const last = ranges.at(-1)
      if (last?.to === n) last.to = n + 1
      else ranges.push({ from: n, to: n + 1 })
    }
    return ranges
  }

  /** The epochs of requests that were leased and have no result. */
  leasedEpochs(): [number, number][] {
    return this.#db
      .prepare('SELECT n, epoch FROM request WHERE epoch > 0 AND n NOT IN (SELECT n FROM result)')
      .all()
      .map((row) => [Number(row['n']), Number(row['epoch'])])
  }

  /** What is settled so far; kept up to date by `commit`, so that asking costs nothing. */
  counts(): JournalCounts {
    return { ...this.#counts }
  }

  /** How many results each peer gave. */
  resultsByPeer(): { peer: string; results: number }[] {
    return this.#db
      .prepare('SELECT peer, count(*) AS results FROM result GROUP BY peer ORDER BY results DESC, peer')
      .all() as { peer: string; results: number }[]
  }

  /** The settled requests in the input's order. */
  *lines(): Generator<JournalLine> {
    const rows = this.#db
      .prepare(
        'SELECT n, customId, ok, statusCode, result.body AS body, peer FROM result JOIN request USING (n) ORDER BY n',
      )
      .iterate()
    for (const row of rows) yield { ...(row as unknown as JournalLine), ok: row['ok'] === 1 }
  }

  get state(): JobState {
    return this.#db.prepare('SELECT state FROM job').get()?.['state'] as JobState
  }

  /** Makes an error line of every request that is not settled: nothing of the job runs any more. */
  cancel(wallMs: number): void {
    const body = JSON.stringify({
      code: 'batch_cancelled',
      message: 'the job was cancelled before this line was answered',
    })
    this.#db.exec('BEGIN IMMEDIATE')
    this.#db.prepare("UPDATE job SET state = 'cancelled'").run()
    this.#db
      .prepare(
        `INSERT INTO result SELECT n, epoch, '', 0, 500, ?, 0, 0, ? FROM request
         WHERE n NOT IN (SELECT n FROM result)`,
      )
      .run(body, wallMs)
    this.#db.exec('COMMIT')
    this.#counts = countRows(this.#db)
  }

  /** Forgets the error lines, so that they run again under new epochs; returns how many there were. */
  reopenFailed(): number {
    this.#db.exec('BEGIN IMMEDIATE')
    this.#db.prepare("UPDATE job SET state = 'open'").run()
    this.#db
      .prepare('UPDATE request SET epoch = epoch + 1 WHERE n IN (SELECT n FROM result WHERE ok = 0)')
      .run()
    const { changes } = this.#db.prepare('DELETE FROM result WHERE ok = 0').run()
    this.#db.exec('COMMIT')
    this.#counts = countRows(this.#db)
    return Number(changes)
  }

  /** The most frequent errors of settled lines, with one line that has each. */
  commonErrors(limit: number): { code: string; message: string; lines: number; exampleLine: number }[] {
    return this.#db
      .prepare(
        `SELECT result.body ->> 'code' AS code, min(result.body ->> 'message') AS message, count(*) AS lines,
         min(line) AS exampleLine FROM result JOIN request USING (n) WHERE ok = 0
         GROUP BY code ORDER BY lines DESC, code LIMIT ?`,
      )
      .all(limit) as { code: string; message: string; lines: number; exampleLine: number }[]
  }

  close(): void {
    this.#db.close()
    this.#unlock()
  }
}

/** One process runs a job at a time; the lock goes with the process, however it ends. */
function lockJob(path: string): () => void {
  return lockForThisProcess(`${path}.lock`, `this job is already running in another process (${path})`)
}

function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | undefined
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    db = new DatabaseSync(path)
    db.exec('PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    return db
  } catch (error) {
    db?.close()
    throw asHearthError(error, path)
  }
}

function readJob(db: DatabaseSync, path: string): JobRecord | undefined {
  try {
    const exists = db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'job'").get()
    if (exists === undefined) return undefined
    const {
      version,
      state: _state,
      isDetached,
      ...job
    } = db.prepare('SELECT * FROM job').get() as unknown as JobRow
    if (version === JOURNAL_VERSION) return { ...job, isDetached: isDetached === 1 }
    throw new HearthError(
      'data-corrupt',
      `${path} is a journal of version ${version}; this Hearth reads version ${JOURNAL_VERSION}`,
    )
  } catch (error) {
    db.close()
    throw asHearthError(error, path)
  }
}

function countRows(db: DatabaseSync): JournalCounts {
  const row = db
    .prepare(
      `SELECT (SELECT count(*) FROM request) AS requests, count(*) AS committed, coalesce(sum(1 - ok), 0) AS failed,
       coalesce(sum(promptTokens), 0) AS promptTokens, coalesce(sum(completionTokens), 0) AS completionTokens FROM result`,
    )
    .get() as unknown as JournalCounts
  return { ...row }
}

async function insertRequests(
  db: DatabaseSync,
  inputPath: string,
  lines: AsyncIterable<JobLine | LineError>,
): Promise<void> {
  const insert = db.prepare(
    'INSERT INTO request (n, line, customId, url, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
  )
  const earlier = db.prepare('SELECT line FROM request WHERE customId = ?')
  const errors: LineError[] = []
  let errorCount = 0
  const report = (error: LineError): void => {
    errorCount += 1
    if (errors.length < LINE_ERRORS_KEPT) errors.push(error)
  }
  let n = 0
  for await (const entry of lines) {
    if (isLineError(entry)) {
      report(entry)
    } else if (insert.run(n, entry.line, entry.customId, entry.url, entry.body).changes === 0) {
      const first = earlier.get(entry.customId)?.['line']
      report({
        line: entry.line,
        message: `custom_id "${entry.customId}" is already used in line ${String(first)}`,
      })
    } else {
      n += 1
    }
  }
  if (errorCount > 0) throw invalidInput(inputPath, errors, errorCount)
  if (n === 0)
    throw new HearthError('input-invalid', `${inputPath} has no requests: give one JSON object per line`)
}

function invalidInput(inputPath: string, errors: LineError[], errorCount: number): HearthError {
  const lines = errorCount === 1 ? '1 line is not a request' : `${errorCount} lines are not requests`
  return new HearthError('input-invalid', `${inputPath}: ${lines}; nothing was run`, {
    data: { errors, errorCount },
  })
}

function asHearthError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof HearthError || !('errcode' in error)) return error
  const primary = Number(error.errcode) & 0xff
  if (primary === 5) {
    return new HearthError('data-in-use', `${path} is open in another process: this job is already running`, {
      cause: error,
    })
  }
  if (primary === 13)
    return new HearthError(
      'disk-full',
      `no room left to write ${path}: free some space and run the same command again`,
      { cause: error },
    )
  if (primary === 11 || primary === 26)
    return new HearthError('data-corrupt', `${path} is damaged: ${error.message}`, { cause: error })
  return error
}
