import { invariant, present } from '../../../base/invariants.ts'
import { SmallMap } from '../../../base/small-map.ts'
import type { LeaseKey, TaskResult } from '../../wire/task-messages.ts'

export interface LedgerOptions {
  /** Bytes of results kept for all submitters; beyond it, whoever has most loses its oldest. */
  undeliveredBytesMax: number
  /** Bytes and results kept for one submitter: at either it gets no credit, at twice it loses its oldest. */
  submitterUndeliveredBytesMax: number
  submitterUndeliveredMax: number
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

/** Requests granted before a submitter's results filled their bound may still come: up to as much again. */
const GRANTED_TIMES = 2

/** The results kept for one submitter, all its jobs together. */
interface Account {
  submitter: string
  bytes: number
  count: number
  jobs: Set<JobResults>
}

/** The kept results of one job. */
export class JobResults {
  readonly job: string
  readonly entries: SmallMap<Entry> = new SmallMap()
  /** Whether the ledger knows of it. */
  isListed = false
  account: Account

  constructor(job: string, account: Account) {
    this.job = job
    this.account = account
  }
}

/** Computed results without an acknowledgement, which a returning submitter gets again. Pure data. */
export class ResultLedger {
  #options: LedgerOptions
  /** Results come and are acknowledged one by one: a job that has none is forgotten when time goes by. */
  #jobs = new Map<string, JobResults>()
  /** Submitters that have such a job. */
  #accounts = new Map<string, Account>()
  #bytes = 0

  constructor(options: LedgerOptions) {
    this.#options = options
  }

  /** Whether the submitter of a job gets no more work until it acknowledges some results. */
  isFull(results: JobResults): boolean {
    const { submitterUndeliveredBytesMax, submitterUndeliveredMax } = this.#options
    const account = results.isListed ? results.account : this.#accounts.get(results.account.submitter)
    if (account === undefined) return false
    return account.bytes >= submitterUndeliveredBytesMax || account.count >= submitterUndeliveredMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The key of the results of a submitter's job. */
  open(submitter: string, job: string): JobResults {
    const key = `${submitter}/${job}`
    return this.#jobs.get(key) ?? new JobResults(key, { submitter, bytes: 0, count: 0, jobs: new Set() })
  }

  add(results: JobResults, result: TaskResult, nowMs: number): void {
    const listed = this.#listed(results) ?? this.#list(results)
    this.#remove(listed, result.n)
    const bytes = ENTRY_BYTES + result.body.length * 2
    const { account, entries } = listed
    entries.set(result.n, { result, addedAtMs: nowMs, bytes })
    account.bytes += bytes
    account.count += 1
    this.#bytes += bytes
    this.#keepBounds(account)
  }

  #keepBounds(account: Account): void {
    const { undeliveredBytesMax, submitterUndeliveredBytesMax, submitterUndeliveredMax } = this.#options
    while (
      account.count > 1 &&
      (account.bytes > GRANTED_TIMES * submitterUndeliveredBytesMax ||
        account.count > GRANTED_TIMES * submitterUndeliveredMax)
    )
      this.#dropOldest(account)
    while (this.#bytes > undeliveredBytesMax) this.#dropOldest(this.#largest())
  }

  #largest(): Account {
    let largest: Account | undefined
    for (const account of this.#accounts.values())
      if (account.bytes > (largest?.bytes ?? 0)) largest = account
    return present(largest, 'bytes that are kept are kept for somebody', { bytes: this.#bytes })
  }

  #dropOldest({ submitter, jobs }: Account): void {
    let oldest: Entry | undefined
    let holder: JobResults | undefined
    for (const results of jobs) {
      const { first } = results.entries
      if (first === undefined || first.addedAtMs >= (oldest?.addedAtMs ?? Infinity)) continue
      oldest = first
      holder = results
    }
    const from = present(holder, 'whoever has bytes has a result', { submitter })
    this.#remove(from, present(oldest, 'whoever has bytes has a result', { submitter }).result.n)
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
      const { account } = results
      account.jobs.delete(results)
      if (account.jobs.size === 0) this.#accounts.delete(account.submitter)
    }
  }

  /** How many results are kept, and for how many jobs. */
  get entries(): number {
    let count = this.#jobs.size
    for (const { entries } of this.#jobs.values()) count += entries.size
    return count
  }

  /** Throws `internal` unless the bytes are those of the results, within bounds, and each job is listed once. */
  check(): void {
    let bytes = 0
    let jobs = 0
    for (const [submitter, account] of this.#accounts) {
      const isFiled = account.submitter === submitter && account.jobs.size > 0
      invariant(isFiled, 'what is kept for a submitter is filed under it', { submitter })
      checkAccount(account)
      jobs += account.jobs.size
    }
    invariant(jobs === this.#jobs.size, 'every job is kept for its submitter', { jobs })
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
    const isBounded = bytes <= this.#options.undeliveredBytesMax
    invariant(isBounded, 'no more bytes are kept than may be', { bytes })
  }

  /** A session opened before the job was forgotten may have a successor. */
  #listed(results: JobResults): JobResults | undefined {
    return results.isListed ? results : this.#jobs.get(results.job)
  }

  #list(results: JobResults): JobResults {
    const { submitter } = results.account
    const account = this.#accounts.get(submitter)
    if (account === undefined) this.#accounts.set(submitter, results.account)
    else results.account = account
    results.account.jobs.add(results)
    results.isListed = true
    this.#jobs.set(results.job, results)
    return results
  }

  #remove({ entries, account }: JobResults, n: number): void {
    const entry = entries.get(n)
    // A result that is added takes the place of an older one, which is mostly not there.
    if (entry === undefined) return
    entries.delete(n)
    account.bytes -= entry.bytes
    account.count -= 1
    this.#bytes -= entry.bytes
  }
}

function checkAccount({ submitter, bytes, count, jobs }: Account): void {
  let kept = 0
  let size = 0
  for (const results of jobs) {
    invariant(results.account.submitter === submitter, 'a job is kept for its submitter', { submitter })
    for (const entry of results.entries.values()) kept += entry.bytes
    size += results.entries.size
  }
  const isCounted = bytes === kept && count === size
  invariant(isCounted, 'what is kept for a submitter is counted', { submitter, bytes, kept, count, size })
}
