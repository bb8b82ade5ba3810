import { existsSync } from 'node:fs'
import { HearthError } from '../../base/errors.ts'
import { TASK_PREFIX_UNITS_MAX } from '../../base/limits.ts'
import { commonCauses, type ErrorCause } from './error-causes.ts'
import { commonPrefix } from '../job/common-prefix.ts'
import type { JobLine, LineError } from '../job/job-file.ts'
import {
  createTables,
  lockJob,
  readJobRow,
  writeJobRow,
  type JobRecord,
  type JobRow,
  type JobState,
} from './journal-database.ts'
import { damagedJournal, JournalFile, type JournalStatement } from './journal-file.ts'
import { insertRequests } from './journal-intake.ts'
import { openLeases, unsettledRanges, type OpenLease } from './journal-leases.ts'
import { mendJournal, type Mended } from './journal-mend.ts'
import { ResultWriter, type CommitVerdict, type ResultRow } from './journal-results.ts'
import { settledLines, type JournalLine } from './journal-rows.ts'
import { hashOf } from './row-hash.ts'
import type { RequestRange } from '../job/request-range.ts'
import type { LeaseKey, TaskRequest, TaskResult } from '../wire/task-messages.ts'
import { runsOf } from './core/lease-runs.ts'

/** Bodies sampled for a common prefix; a shorter prefix is not worth sending. */
const PREFIX_SAMPLE = 16
const PREFIX_UNITS_MIN = 64

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

/** The columns that `requests` reads. */
type StoredRequest = [url: unknown, body: unknown, bodyHash: unknown]

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
  #row: JobRow
  #unlock: () => void
  #counts: JournalCounts
  #file: JournalFile
  /** The rows of the table of peers: results name them by number, since a name is longer than most answers. */
  #peers: Map<string, number>
  #addPeer: JournalStatement
  #lease: JournalStatement
  #copy: JournalStatement
  #results: ResultWriter
  #read: JournalStatement
  /** Whether rows may be damaged: they were not written by this process, or one was found damaged. */
  #isSuspect: boolean

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
    let file: JournalFile | undefined
    try {
      file = new JournalFile(path)
      const row = readJobRow(file)
      if (row !== undefined) return new Journal(file, row, unlock, true)
      file.close()
      unlock()
      return undefined
    } catch (error) {
      file?.close()
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
    let file: JournalFile | undefined
    try {
      file = new JournalFile(path)
      file.exec('BEGIN')
      createTables(file)
      const requests = await insertRequests(file, job.inputPath, lines)
      const row: JobRow = { job, state: 'open', requests }
      writeJobRow(file, row)
      file.exec('COMMIT')
      return new Journal(file, row, unlock, false)
    } catch (error) {
      file?.rollBack()
      file?.close()
      unlock()
      throw error
    }
  }

  private constructor(file: JournalFile, row: JobRow, unlock: () => void, isSuspect: boolean) {
    this.#unlock = unlock
    this.#row = row
    this.#counts = countRows(file, row.requests)
    this.#file = file
    this.#isSuspect = isSuspect
    this.#peers = readPeers(file)
    this.#addPeer = file.prepare('INSERT INTO peer (name) VALUES (?)')
    this.#lease = file.prepare(
      'UPDATE request SET epoch = ?, holder = ? WHERE n >= ? AND n < ? AND epoch < ?',
    )
    this.#copy = file.prepare(`
      INSERT INTO copy SELECT n, epoch, ? FROM request WHERE n = ? AND epoch = ? AND holder <> ?
      ON CONFLICT DO NOTHING`)
    this.#results = new ResultWriter(file)
    this.#read = file.prepareForArrays(
      'SELECT url, body, bodyHash FROM request WHERE n >= ? AND n < ? ORDER BY n',
    )
  }

  get job(): JobRecord {
    return this.#row.job
  }

  /** Fixes the job's context for good, because its name may later mean another. */
  bindContext(contextId: string): void {
    this.#file.transact(() => this.#change({ job: { ...this.job, contextId } }))
  }

  /** Gives a job that came from another machine its output path here; the local peer runs it. */
  adopt(outputPath: string): void {
    this.#file.transact(() => this.#change({ job: { ...this.job, outputPath, isDetached: true } }))
  }

  /**
   * Before a job goes on: forgets damaged results, so that they are computed again, and gives each damaged request
   * an error line. Reads every row when the journal was written by an earlier process; else it has nothing to do.
   */
  mend(wallMs: number): Mended {
    if (!this.#isSuspect) return { resultsForgotten: 0, requestsLost: 0 }
    const mended = mendJournal(this.#file, this.#row.requests, wallMs)
    this.#isSuspect = false
    this.#counts = countRows(this.#file, this.#row.requests)
    return mended
  }

  /**
   * One durable group: first the leases given out since the last one, then results. Says of each
   * result whether it was committed, came second, or was under an epoch that is not the newest.
   * Throws `disk-full`, and then nothing of the group is committed.
   */
  commit(sent: readonly SentLeases[], results: readonly CommitEntry[], wallMs: number): CommitVerdict[] {
    let committed: CommitVerdict[]
    try {
      committed = this.#file.transact(() => {
        for (const { peer, leases } of sent) this.#addHolder(this.#peerId(peer), leases)
        return this.#results.add(results.map((entry) => this.#rowOf(entry, wallMs)))
      })
    } catch (error) {
      this.#peers = readPeers(this.#file)
      throw error
    }
    for (const [index, { result }] of results.entries())
      if (committed[index] === 'committed') this.#count(result)
    return committed
  }

  /** The request's row names the first peer of a lease; peers with a copy under the same epoch have their own table. */
  #addHolder(holder: number, leases: readonly LeaseKey[]): void {
    for (const run of runsOf(leases)) {
      const { n, epoch } = run[0]
      const changes = this.#lease.run(epoch, holder, n, n + run.length, epoch)
      if (changes !== run.length) for (const key of run) this.#copy.run(holder, key.n, key.epoch, holder)
    }
  }

  #rowOf({ peer, result }: CommitEntry, wallMs: number): ResultRow {
    const { n, epoch, outcome, statusCode, body, promptTokens, completionTokens } = result
    const ok = outcome === 'ok' ? 1 : 0
    const by = this.#peerId(peer)
    const hash = hashOf(n, epoch, by, ok, statusCode, body, promptTokens, completionTokens, wallMs)
    return [n, epoch, by, ok, statusCode, body, promptTokens, completionTokens, wallMs, hash]
  }

  #peerId(name: string): number {
    const known = this.#peers.get(name)
    if (known !== undefined) return known
    const id = this.#addPeer.insert(name)
    this.#peers.set(name, id)
    return id
  }

  #count({ outcome, promptTokens, completionTokens }: TaskResult): void {
    this.#counts.committed += 1
    if (outcome !== 'ok') this.#counts.failed += 1
    this.#counts.promptTokens += promptTokens
    this.#counts.completionTokens += completionTokens
  }

  /** The data that a peer needs to run the requests of some leases, in their order. Throws `data-corrupt` when a row does not have its hash. */
  requests(leases: readonly LeaseKey[]): TaskRequest[] {
    const requests: TaskRequest[] = []
    for (const run of runsOf(leases)) {
      const rows = this.#readRows(run[0].n, run.length)
      for (const [index, { n, epoch }] of run.entries()) {
        if (n >= this.#row.requests) throw new HearthError('internal', 'a lease is of no request')
        const [url, body, bodyHash] = rows[index] ?? []
        if (typeof url !== 'string' || typeof body !== 'string' || hashOf(n, url, body) !== bodyHash)
          throw this.#damaged(`request ${n} does not have its hash`)
        requests.push({ n, epoch, url, body })
      }
    }
    return requests
  }

  #readRows(from: number, count: number): StoredRequest[] {
    return this.#read.all(from, from + count) as unknown as StoredRequest[]
  }

  /** The next run of the job looks at every row first. */
  #damaged(why: string): HearthError {
    this.#isSuspect = true
    return damagedJournal(this.#file.path, `${why}; run the same command again`)
  }

  /** The common prefix of the job's bodies, from a sample; undefined when it is short. */
  bodyPrefix(): string | undefined {
    const { requests } = this.#counts
    const step = Math.max(1, Math.floor((requests - 1) / (PREFIX_SAMPLE - 1)))
    const sample: string[] = []
    for (let n = 0; n < requests; n += step)
      sample.push(...this.#readRows(n, 1).flatMap(([, body]) => (typeof body === 'string' ? body : [])))
    const prefix = commonPrefix(sample, TASK_PREFIX_UNITS_MAX)
    return requests > 1 && prefix.length >= PREFIX_UNITS_MIN ? prefix : undefined
  }

  /** The requests without a result, as ranges in the file's order. */
  unsettledRanges(): RequestRange[] {
    return unsettledRanges(this.#file, this.#row.requests)
  }

  /** The requests that were leased and have no result, in the file's order. */
  openLeases(): OpenLease[] {
    return openLeases(this.#file)
  }

  /** Counts of settled requests; `commit` keeps them current, so that reading them is free. */
  counts(): JournalCounts {
    return { ...this.#counts }
  }

  /** Number of results per peer. */
  resultsByPeer(): { peer: string; results: number }[] {
    return this.#file
      .prepare(
        'SELECT name AS peer, count(*) AS results FROM result JOIN peer ON peer.id = result.peer GROUP BY name ORDER BY results DESC, name',
      )
      .all() as { peer: string; results: number }[]
  }

  /** The settled requests in the input's order, each checked. Throws `data-corrupt` when one cannot be found. */
  lines(): Generator<JournalLine, void> {
    const { requests, committed } = this.#counts
    return settledLines(this.#file, requests, committed >= requests)
  }

  get state(): JobState {
    return this.#row.state
  }

  #change(change: Partial<JobRow>): void {
    const row = { ...this.#row, ...change }
    writeJobRow(this.#file, row)
    this.#row = row
  }

  /** Turns every unsettled request into an error line, so that nothing of the job runs again. */
  cancel(wallMs: number): void {
    const body = JSON.stringify({
      code: 'batch_cancelled',
      message: 'the job was cancelled before this line was answered',
    })
    this.#file.transact(() => {
      this.#change({ state: 'cancelled' })
      this.#file
        .prepare(
          `INSERT INTO result
           SELECT n, epoch, 0, 0, 500, ?1, 0, 0, ?2, row_hash(n, epoch, 0, 0, 500, ?1, 0, 0, ?2)
           FROM request WHERE n NOT IN (SELECT n FROM result)`,
        )
        .run(body, wallMs)
    })
    this.#counts = countRows(this.#file, this.#row.requests)
  }

  /** Forgets the error lines, so that they run again under new epochs; returns how many there were. */
  reopenFailed(): number {
    const changes = this.#file.transact(() => {
      this.#change({ state: 'open' })
      this.#file
        .prepare(
          'UPDATE request SET epoch = epoch + 1, holder = NULL WHERE n IN (SELECT n FROM result WHERE ok = 0)',
        )
        .run()
      return this.#file.prepare('DELETE FROM result WHERE ok = 0').run()
    })
    this.#counts = countRows(this.#file, this.#row.requests)
    return changes
  }

  /** The most frequent causes of error lines. */
  commonErrors(limit: number): ErrorCause[] {
    return commonCauses(this.#file, limit)
  }

  close(): void {
    this.#file.close()
    this.#unlock()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function readPeers(file: JournalFile): Map<string, number> {
  const rows = file.prepare('SELECT name, id FROM peer').all()
  return new Map(rows.map(({ name, id }) => [String(name), Number(id)]))
}

/** `total` adds as floating point: `sum` of integers throws when it overflows. */
function countRows(file: JournalFile, requests: number): JournalCounts {
  const row = file
    .prepare(
      `SELECT count(*) AS committed, total(ok = 0) AS failed,
       total(promptTokens) AS promptTokens, total(completionTokens) AS completionTokens FROM result`,
    )
    .get() as unknown as Omit<JournalCounts, 'requests'>
  return { requests, ...row }
}
