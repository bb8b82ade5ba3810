import { invariant } from '../../../base/invariants.ts'
import { SmallMap } from '../../../base/small-map.ts'
import type { LeaseKey, TaskResult } from '../../wire/task-messages.ts'

export interface LedgerOptions {
  /** Bytes of results kept for submitters that have not acknowledged them. */
  undeliveredBytesMax: number
  /** How long a result is kept, ms. */
  undeliveredAgeMsMax: number
}

interface Entry {
  result: TaskResult
  addedAtMs: number
  bytes: number
}

/** Fixed cost of an entry beside its body, bytes. */
const ENTRY_BYTES = 200

/** The kept results of one job. */
export class JobResults {
  readonly job: string
  readonly entries: SmallMap<Entry> = new SmallMap()
  /** Whether the ledger knows of it. */
  isListed = false

  constructor(job: string) {
    this.job = job
  }
}

/** Computed results without an acknowledgement, which a returning submitter gets again. Pure data. */
export class ResultLedger {
  #options: LedgerOptions
  /** Results come and are acknowledged one by one: a job that has none is forgotten when time goes by. */
  #jobs = new Map<string, JobResults>()
  #bytes = 0

  constructor(options: LedgerOptions) {
    this.#options = options
  }

  /** Whether no more results may be taken on until some are acknowledged. */
  get isFull(): boolean {
    return this.#bytes >= this.#options.undeliveredBytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The key of a job's results. */
  open(job: string): JobResults {
    return this.#jobs.get(job) ?? new JobResults(job)
  }

  add(results: JobResults, result: TaskResult, nowMs: number): void {
    const listed = this.#listed(results) ?? this.#list(results)
    this.#remove(listed, result.n)
    const bytes = ENTRY_BYTES + result.body.length * 2
    listed.entries.set(result.n, { result, addedAtMs: nowMs, bytes })
    this.#bytes += bytes
  }

  /** Forgets a result that the submitter has made durable or has cancelled. */
  settle(results: JobResults, key: LeaseKey): void {
    const listed = this.#listed(results)
    const entry = listed?.entries.get(key.n)
    // It may be acknowledged twice, or cancelled before it is there.
    if (listed === undefined || entry === undefined || entry.result.epoch > key.epoch) return
    this.#remove(listed, key.n)
  }

  find(results: JobResults, key: LeaseKey): TaskResult | undefined {
    if (this.#bytes === 0) return undefined
    const result = this.#listed(results)?.entries.get(key.n)?.result
    return result?.epoch === key.epoch ? result : undefined
  }

  /** The results that a job's submitter has not acknowledged, oldest first. */
  of(results: JobResults): TaskResult[] {
    return (this.#listed(results)?.entries.values() ?? []).map((entry) => entry.result)
  }

  expire(nowMs: number): void {
    for (const [job, results] of this.#jobs) {
      const { entries } = results
      for (let oldest = entries.first; oldest !== undefined; oldest = entries.first) {
        if (nowMs - oldest.addedAtMs < this.#options.undeliveredAgeMsMax) break
        this.#remove(results, oldest.result.n)
      }
      if (entries.size > 0) continue
      results.isListed = false
      this.#jobs.delete(job)
    }
  }

  /** How many results are kept, and for how many jobs. */
  get entries(): number {
    let count = this.#jobs.size
    for (const { entries } of this.#jobs.values()) count += entries.size
    return count
  }

  /** Throws `internal` unless the bytes are those of the results, and each job is listed once. */
  check(): void {
    let bytes = 0
    for (const [job, results] of this.#jobs) {
      const isListed = results.isListed && results.job === job
      invariant(isListed, 'the results of a job are listed under it', { job, listed: results.job })
      for (const entry of results.entries.values()) {
        const { n } = entry.result
        const isFiled = results.entries.get(n) === entry
        invariant(isFiled, 'a result is filed under its request', { job, request: n })
        bytes += entry.bytes
      }
    }
    invariant(bytes === this.#bytes, 'the bytes of kept results are counted', { bytes, counted: this.#bytes })
  }

  /** What was opened before the job was forgotten may have a successor. */
  #listed(results: JobResults): JobResults | undefined {
    return results.isListed ? results : this.#jobs.get(results.job)
  }

  #list(results: JobResults): JobResults {
    results.isListed = true
    this.#jobs.set(results.job, results)
    return results
  }

  #remove({ entries }: JobResults, n: number): void {
    const entry = entries.get(n)
    // A result that is added takes the place of an older one, which is mostly not there.
    if (entry === undefined) return
    entries.delete(n)
    this.#bytes -= entry.bytes
  }
}
