import { SmallMap } from '../base/small-map.ts'
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
  /** Results come and are acknowledged one by one: a job that has none is forgotten when time goes by. */
  #jobs = new Map<string, SmallMap<Entry>>()
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
    const entries = this.#entriesOf(job)
    this.#remove(entries, result.n)
    const bytes = ENTRY_BYTES + result.body.length * 2
    entries.set(result.n, { result, addedAtMs: nowMs, bytes })
    this.#bytes += bytes
  }

  /** Forgets a result that the submitter has durably, or does not want any more. */
  settle(job: string, key: LeaseKey): void {
    const entries = this.#jobs.get(job)
    const entry = entries?.get(key.n)
    if (entries === undefined || entry === undefined || entry.result.epoch > key.epoch) return
    this.#remove(entries, key.n)
  }

  find(job: string, key: LeaseKey): TaskResult | undefined {
    if (this.#bytes === 0) return undefined
    const result = this.#jobs.get(job)?.get(key.n)?.result
    return result?.epoch === key.epoch ? result : undefined
  }

  /** All that a job's submitter has not acknowledged, oldest first. */
  of(job: string): TaskResult[] {
    return (this.#jobs.get(job)?.values() ?? []).map((entry) => entry.result)
  }

  expire(nowMs: number): void {
    for (const [job, entries] of this.#jobs) {
      for (let oldest = entries.first; oldest !== undefined; oldest = entries.first) {
        if (nowMs - oldest.addedAtMs < this.#options.undeliveredAgeMsMax) break
        this.#remove(entries, oldest.result.n)
      }
      if (entries.size === 0) this.#jobs.delete(job)
    }
  }

  #entriesOf(job: string): SmallMap<Entry> {
    const known = this.#jobs.get(job)
    if (known !== undefined) return known
    const entries = new SmallMap<Entry>()
    this.#jobs.set(job, entries)
    return entries
  }

  #remove(entries: SmallMap<Entry>, n: number): void {
    const entry = entries.get(n)
    if (entry === undefined) return
    entries.delete(n)
    this.#bytes -= entry.bytes
  }
}
