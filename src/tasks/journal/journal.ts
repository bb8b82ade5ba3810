import { existsSync } from 'node:fs'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { HearthError } from '../../base/errors.ts'
import { TASK_PREFIX_UNITS_MAX } from '../../base/limits.ts'
import { commonPrefix } from '../job/common-prefix.ts'
import type { JobLine, LineError } from '../job/job-file.ts'
import {
  asHearthError,
  createTables,
  lockJob,
  openDatabase,
  readJob,
  type JobRecord,
  type JobState,
} from './journal-database.ts'
import { insertRequests } from './journal-intake.ts'
import type { RequestRange } from '../job/request-range.ts'
import type { LeaseKey, TaskRequest, TaskResult } from '../wire/task-messages.ts'
import { runsOf } from './core/lease-runs.ts'

/** Bodies sampled for a common prefix; a shorter prefix is not worth sending. */
const PREFIX_SAMPLE = 16
const PREFIX_UNITS_MIN = 64

/** A settled request, as an output line needs it. */
export interface JournalLine {
  n: number
  customId: string
  ok: boolean
  statusCode: number
  body: string
  peer: string
}

/** A result to commit and the peer that sent it; '' for an error line of the submitter. */
export interface CommitEntry {
  peer: string
  result: TaskResult
}

/** Requests that were sent to a peer, each under the epoch of its lease. */
export interface SentLeases {
  peer: string
  leases: readonly LeaseKey[]
}

/** A request that is leased and has no result: its newest epoch, and every peer that was sent it under that epoch. */
export interface OpenLease extends LeaseKey {
  holders: string[]
}

/** The outcome of committing a result. */
export type CommitVerdict = 'committed' | 'duplicate' | 'stale'

export interface JournalCounts {
  requests: number
  committed: number
  failed: number
  promptTokens: number
  completionTokens: number
}

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
  /** The rows of the table of peers: results name them by number, since a name is longer than most answers. */
  #peers: Map<string, number>
  #addPeer: StatementSync
  #lease: StatementSync
  #copy: StatementSync
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

  /** Opens a journal for reading, even while another process runs its job; undefined when no journal exists. */
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
      createTables(db, job)
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
    this.#peers = readPeers(db)
    this.#addPeer = db.prepare('INSERT INTO peer (name) VALUES (?)')
    this.#lease = db.prepare('UPDATE request SET epoch = ?, holder = ? WHERE n >= ? AND n < ? AND epoch < ?')
    this.#copy = db.prepare(`
      INSERT INTO copy SELECT n, epoch, ? FROM request WHERE n = ? AND epoch = ? AND holder <> ?
      ON CONFLICT DO NOTHING`)
    this.#commit = db.prepare(`
      INSERT INTO result SELECT request.n, ?, ?, ?, ?, ?, ?, ?, ? FROM request
      WHERE request.n = ? AND request.epoch = ? ON CONFLICT (n) DO NOTHING`)
    this.#has = db.prepare('SELECT 1 FROM result WHERE n = ?')
    this.#read = db.prepare('SELECT url, body FROM request WHERE n >= ? AND n < ? ORDER BY n')
    this.#read.setReturnArrays(true)
  }

  get job(): JobRecord {
    return this.#job
  }

  /** Fixes the job's context for good, because its name may later mean another. */
  bindContext(contextId: string): void {
    this.#db.prepare('UPDATE job SET contextId = ?').run(contextId)
    this.#job = { ...this.#job, contextId }
  }

  /**
   * One durable group: first the leases given out since the last one, then results. Says of each
   * result whether it was committed, came second, or was under an epoch that is not the newest.
   * Throws `disk-full`, and then nothing of the group is committed.
   */
  commit(sent: readonly SentLeases[], results: readonly CommitEntry[], wallMs: number): CommitVerdict[] {
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      for (const { peer, leases } of sent) this.#addHolder(this.#peerId(peer), leases)
      const committed = results.map((entry) => this.#commitOne(entry, wallMs))
      this.#db.exec('COMMIT')
      for (const [index, { result }] of results.entries())
        if (committed[index] === 'committed') this.#count(result)
      return committed
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      this.#peers = readPeers(this.#db)
      throw asHearthError(error, 'the journal')
    }
  }

  /** The request's row names the first peer of a lease; peers with a copy under the same epoch have their own table. */
  #addHolder(holder: number, leases: readonly LeaseKey[]): void {
    for (const run of runsOf(leases)) {
      const { n, epoch } = run[0]
      const { changes } = this.#lease.run(epoch, holder, n, n + run.length, epoch)
      if (changes !== run.length) for (const key of run) this.#copy.run(holder, key.n, key.epoch, holder)
    }
  }

  #commitOne({ peer, result }: CommitEntry, wallMs: number): CommitVerdict {
    const { n, epoch, outcome, statusCode, body, promptTokens, completionTokens } = result
    const ok = outcome === 'ok' ? 1 : 0
    const done = this.#commit.run(
      epoch,
      this.#peerId(peer),
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

  #peerId(name: string): number {
    const known = this.#peers.get(name)
    if (known !== undefined) return known
    const id = Number(this.#addPeer.run(name).lastInsertRowid)
    this.#peers.set(name, id)
    return id
  }

  #count({ outcome, promptTokens, completionTokens }: TaskResult): void {
    this.#counts.committed += 1
    if (outcome !== 'ok') this.#counts.failed += 1
    this.#counts.promptTokens += promptTokens
    this.#counts.completionTokens += completionTokens
  }

  /** What a peer needs to run the requests of some leases, in their order. */
  requests(leases: readonly LeaseKey[]): TaskRequest[] {
    const requests: TaskRequest[] = []
    for (const run of runsOf(leases)) {
      const { n, epoch } = run[0]
      const rows = this.#read.all(n, n + run.length) as unknown as [url: string, body: string][]
      for (const [index, [url, body]] of rows.entries()) requests.push({ n: n + index, epoch, url, body })
    }
    if (requests.length !== leases.length) throw new HearthError('internal', 'a lease is of no request')
    return requests
  }

  /** The common prefix of the job's bodies, from a sample; undefined when it is short. */
  bodyPrefix(): string | undefined {
    const { requests } = this.#counts
    const step = Math.max(1, Math.floor((requests - 1) / (PREFIX_SAMPLE - 1)))
    const sample: string[] = []
    for (let n = 0; n < requests; n += step)
      sample.push(...this.requests([{ n, epoch: 0 }]).map(({ body }) => body))
    const prefix = commonPrefix(sample, TASK_PREFIX_UNITS_MAX)
    return requests > 1 && prefix.length >= PREFIX_UNITS_MIN ? prefix : undefined
  }

  /** The requests without a result, as ranges in the file's order. */
  unsettledRanges(): RequestRange[] {
    const ranges: RequestRange[] = []
    const ends = this.#settledNextTo(-1)
    let from = 0
    for (const [index, to] of [...this.#settledNextTo(1), this.#counts.requests].entries()) {
      if (from < to) ranges.push({ from, to })
      from = (ends[index] ?? to) + 1
    }
    return ranges
  }

  /** The settled requests whose neighbour so many places before is not: the ends of what is settled in a row. */
  #settledNextTo(before: 1 | -1): number[] {
    return this.#db
      .prepare(
        `SELECT n FROM result AS here WHERE NOT EXISTS
         (SELECT 1 FROM result WHERE n = here.n - ?) ORDER BY n`,
      )
      .all(before)
      .map(({ n }) => Number(n))
  }

  /** The requests that were leased and have no result, in the file's order. */
  openLeases(): OpenLease[] {
    const rows = this.#db
      .prepare(
        `SELECT n, epoch, name FROM
           (SELECT n, epoch, holder FROM request UNION ALL SELECT n, epoch, copy.holder FROM copy JOIN request USING (n, epoch))
         LEFT JOIN peer ON peer.id = holder WHERE epoch > 0 AND n NOT IN (SELECT n FROM result) ORDER BY n`,
      )
      .all() as unknown as { n: number; epoch: number; name: string | null }[]
    const open: OpenLease[] = []
    for (const { n, epoch, name } of rows) {
      if (open.at(-1)?.n !== n) open.push({ n, epoch, holders: [] })
      if (name !== null) open.at(-1)?.holders.push(name)
    }
    return open
  }

  /** Counts of settled requests; `commit` keeps them current, so that reading them is free. */
  counts(): JournalCounts {
    return { ...this.#counts }
  }

  /** Number of results per peer. */
  resultsByPeer(): { peer: string; results: number }[] {
    return this.#db
      .prepare(
        'SELECT name AS peer, count(*) AS results FROM result JOIN peer ON peer.id = result.peer GROUP BY name ORDER BY results DESC, name',
      )
      .all() as { peer: string; results: number }[]
  }

  /** The settled requests in the input's order. */
  *lines(): Generator<JournalLine> {
    const rows = this.#db
      .prepare(
        'SELECT n, customId, ok, statusCode, result.body AS body, name AS peer FROM result JOIN request USING (n) JOIN peer ON peer.id = result.peer ORDER BY n',
      )
      .iterate()
    for (const row of rows) yield { ...(row as unknown as JournalLine), ok: row['ok'] === 1 }
  }

  get state(): JobState {
    return this.#db.prepare('SELECT state FROM job').get()?.['state'] as JobState
  }

  /** Turns every unsettled request into an error line, so that nothing of the job runs again. */
  cancel(wallMs: number): void {
    const body = JSON.stringify({
      code: 'batch_cancelled',
      message: 'the job was cancelled before this line was answered',
    })
    this.#db.exec('BEGIN IMMEDIATE')
    this.#db.prepare("UPDATE job SET state = 'cancelled'").run()
    this.#db
      .prepare(
        `INSERT INTO result SELECT n, epoch, 0, 0, 500, ?, 0, 0, ? FROM request
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
      .prepare(
        'UPDATE request SET epoch = epoch + 1, holder = NULL WHERE n IN (SELECT n FROM result WHERE ok = 0)',
      )
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
        `SELECT coalesce(body ->> 'code', 'result-unreadable') AS code,
         coalesce(min(body ->> 'message'), '') AS message, count(*) AS lines, min(line) AS exampleLine FROM
           (SELECT line, CASE WHEN json_valid(result.body) THEN result.body END AS body
            FROM result JOIN request USING (n) WHERE ok = 0)
         GROUP BY 1 ORDER BY lines DESC, code LIMIT ?`,
      )
      .all(limit) as { code: string; message: string; lines: number; exampleLine: number }[]
  }

  close(): void {
    this.#db.close()
    this.#unlock()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function readPeers(db: DatabaseSync): Map<string, number> {
  const rows = db.prepare('SELECT name, id FROM peer').all()
  return new Map(rows.map(({ name, id }) => [String(name), Number(id)]))
}

/** `total` adds as floating point: `sum` of integers throws when it overflows. */
function countRows(db: DatabaseSync): JournalCounts {
  const row = db
    .prepare(
      `SELECT (SELECT count(*) FROM request) AS requests, count(*) AS committed, coalesce(sum(1 - ok), 0) AS failed,
       total(promptTokens) AS promptTokens, total(completionTokens) AS completionTokens FROM result`,
    )
    .get() as unknown as JournalCounts
  return { ...row }
}
