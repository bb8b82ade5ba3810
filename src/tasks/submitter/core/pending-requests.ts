import { invariant } from '../../../base/invariants.ts'
import type { RequestRange } from '../../job/request-range.ts'

interface Retry {
  request: number
  notBeforeMs: number
}

/**
 * The pending requests, in the order in which they should be sent: returned ones first,
 * then the file's own order. Holds ranges and what came back, so its size follows what is in
 * flight and not the job's length.
 */
export class PendingRequests {
  #ranges: RequestRange[]
  #rangeIndex = 0
  #retries: Retry[] = []
  /** Settled requests inside a range, which are skipped when their turn comes. */
  #settled = new Set<number>()
  #size: number

  constructor(ranges: readonly RequestRange[]) {
    this.#ranges = ranges.map((range) => ({ ...range }))
    this.#size = ranges.reduce((sum, range) => sum + range.to - range.from, 0)
  }

  /** Number of pending requests, including those that wait for their retry time. */
  get size(): number {
    return this.#size
  }

  /** Entries that a check walks. */
  get entries(): number {
    return this.#ranges.length + this.#retries.length + this.#settled.size
  }

  /** When the first returned request may be sent; may be in the past. Infinite without one. */
  get retryAtMs(): number {
    return this.#retries[0]?.notBeforeMs ?? Infinity
  }

  /**
   * The next request that may go out now; undefined when there is none. Of those that came back, only
   * one that `suits` is taken: a peer that failed on a request should not get it again.
   */
  take(nowMs: number, suits?: (request: number) => boolean, mayBeFresh = true): number | undefined {
    const retry = this.#retries.length === 0 ? undefined : this.#takeRetry(nowMs, suits)
    return retry ?? (mayBeFresh ? this.#takeFresh() : undefined)
  }

  /** Puts a request back; it is not sent before `notBeforeMs`. */
  giveBack(request: number, notBeforeMs: number): void {
    this.#size += 1
    let index = this.#retries.length
    while (index > 0 && (this.#retries[index - 1] as Retry).notBeforeMs > notBeforeMs) index -= 1
    this.#retries.splice(index, 0, { request, notBeforeMs })
  }

  /** Takes a request out that was answered while it was pending; false when it is not pending. */
  settle(request: number): boolean {
    const index = this.#retries.findIndex((retry) => retry.request === request)
    if (index >= 0) {
      this.#retries.splice(index, 1)
      this.#size -= 1
      return true
    }
    if (!this.#isFresh(request) || this.#settled.has(request)) return false
    this.#settled.add(request)
    this.#size -= 1
    return true
  }

  /** Throws `internal` unless each pending request is there once, and the size is right. Tells which are pending. */
  check(): (request: number) => boolean {
    const back = new Set(this.#retries.map(({ request }) => request))
    const isFresh = (request: number): boolean => this.#isFresh(request) && !this.#settled.has(request)
    let size = back.size - this.#settled.size
    for (const { from, to } of this.#ranges) size += to - from
    for (const request of back) invariant(!isFresh(request), 'a request is pending once', { request })
    for (const request of this.#settled)
      invariant(this.#isFresh(request), 'what is passed over is still to come', { request })
    invariant(back.size === this.#retries.length, 'a request comes back once', { size: back.size })
    invariant(size === this.#size, 'the size of what is pending is right', { size, counted: this.#size })
    return (request) => back.has(request) || isFresh(request)
  }

  #takeRetry(nowMs: number, suits: ((request: number) => boolean) | undefined): number | undefined {
    for (const [index, { request, notBeforeMs }] of this.#retries.entries()) {
      if (notBeforeMs > nowMs) return undefined
      if (suits !== undefined && !suits(request)) continue
      this.#retries.splice(index, 1)
      this.#size -= 1
      return request
    }
    return undefined
  }

  #takeFresh(): number | undefined {
    for (;;) {
      const range = this.#ranges[this.#rangeIndex]
      if (range === undefined) return undefined
      if (range.from >= range.to) {
        this.#rangeIndex += 1
        continue
      }
      const request = range.from
      range.from += 1
      if (this.#settled.delete(request)) continue
      this.#size -= 1
      return request
    }
  }

  #isFresh(request: number): boolean {
    let low = this.#rangeIndex
    let high = this.#ranges.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const range = this.#ranges[middle] as RequestRange
      if (request < range.from) high = middle - 1
      else if (request >= range.to) low = middle + 1
      else return true
    }
    return false
  }
}
