import type { LeaseKey, TaskResult } from './task-messages.ts'

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

/** Results that were computed and are not acknowledged: what a returning submitter gets again. Pure data. */
export class ResultLedger {
  #options: LedgerOptions
  #jobs = new Map<string, Map<number, Entry>>()
  /** Results come and are acknowledged one by one: the map of a job that has none is used again. */
  #spare: Map<number, Entry> | undefined
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

  add(job: string, result: TaskResult, nowMs: number): void {
    const known = this.#jobs.get(job)
    if (known !== undefined) this.#remove(job, known, result.n)
    const entries = this.#jobs.get(job) ?? this.#newEntries(job)
    const bytes = ENTRY_BYTES + result.body.length * 2
    entries.set(result.n, { result, addedAtMs: nowMs, bytes })
    this.#bytes += bytes
  }

  /** Forgets a result that the submitter has durably, or does not want any more. */
  settle(job: string, key: LeaseKey): void {
    const entries = this.#jobs.get(job)
    const entry = entries?.get(key.n)
    if (entries === undefined || entry === undefined || entry.result.epoch > key.epoch) return
    this.#remove(job, entries, key.n)
  }

  find(job: string, key: LeaseKey): TaskResult | undefined {
    const result = this.#jobs.get(job)?.get(key.n)?.result
    return result?.epoch === key.epoch ? result : undefined
  }

  /** All that a job's submitter has not acknowledged, oldest first. */
  of(job: string): TaskResult[] {
    return [...(this.#jobs.get(job)?.values() ?? [])].map((entry) => entry.result)
  }

  expire(nowMs: number): void {
    for (const [job, entries] of this.#jobs) {
      for (const [n, entry] of entries) {
        if (nowMs - entry.addedAtMs < this.#options.undeliveredAgeMsMax) break
        this.#remove(job, entries, n)
      }
    }
  }

  #newEntries(job: string): Map<number, Entry> {
    const entries = this.#spare ?? new Map<number, Entry>()
    this.#spare = undefined
    this.#jobs.set(job, entries)
    return entries
  }

  #remove(job: string, entries: Map<number, Entry>, n: number): void {
    const entry = entries.get(n)
    if (entry === undefined) return
    entries.delete(n)
    this.#bytes -= entry.bytes
    if (entries.size > 0) return
    this.#jobs.delete(job)
    this.#spare = entries
  }
}
