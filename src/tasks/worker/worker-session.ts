import { HearthError } from '../../base/errors.ts'
import { FRAME_BYTES_MAX, REQUESTS_PER_FRAME_MAX } from '../../base/limits.ts'
import type { MessageStream, WaitOptions } from '../../base/stream/message-stream.ts'
import { Outbox } from '../wire/outbox.ts'
import {
  frames,
  type LeaseKey,
  type SentRequest,
  type TaskRequest,
  type TaskResult,
} from '../wire/task-messages.ts'
import type { WorkerEffect } from './core/worker-state.ts'

/** How long a submitter may take to end its side of a closed stream, ms. */
const CLOSE_MS_MAX = 1_000
/** Longest refusal reason on the wire: docs/protocol/task.md. */
const REASON_UNITS_MAX = 64
const DETAIL_UNITS_MAX = 1_024

/** One submitter's stream to a worker: frames the worker's messages in order. */
export class WorkerSession {
  readonly #stream: MessageStream
  readonly #outbox: Outbox
  /** The common prefix that the job's bodies are sent without. */
  readonly #prefix: string | undefined
  #results: TaskResult[] = []
  /** Credit that is not sent yet. */
  #credit = 0

  constructor(stream: MessageStream, prefix: string | undefined, wait: WaitOptions) {
    this.#stream = stream
    this.#prefix = prefix
    this.#outbox = new Outbox(stream, wait, (error) => stream.abort(error))
  }

  sayAlive(): void {
    this.#outbox.push(() => ({ type: 'alive' }))
  }

  sendStatus({ phase, reason, detail }: Extract<WorkerEffect, { kind: 'status' }>): void {
    this.#outbox.push(() => ({
      type: 'status',
      phase,
      ...(reason === undefined ? {} : { reason: reason.slice(0, REASON_UNITS_MAX) }),
      ...(detail === undefined ? {} : { detail: detail.slice(0, DETAIL_UNITS_MAX) }),
    }))
  }

  /** Sends results at once; those that come while a frame is being sent travel together in the next. */
  deliver(results: readonly TaskResult[]): void {
    const wasEmpty = this.#results.length === 0
    this.#results.push(...results)
    if (wasEmpty) this.#pushResults()
  }

  /** Credit goes with results that are about to be sent, else on its own. */
  giveCredit(requests: number): void {
    this.#credit += requests
    if (this.#results.length > 0) return
    this.#outbox.push(() => {
      const credit = this.#takeCredit()
      return credit === 0 ? undefined : { type: 'credit', requests: credit }
    })
  }

  /** Returns requests that were not run; an empty list says that nothing is left to return. */
  giveBack(keys: readonly LeaseKey[]): void {
    for (let from = 0; from === 0 || from < keys.length; from += REQUESTS_PER_FRAME_MAX) {
      const requests = keys.slice(from, from + REQUESTS_PER_FRAME_MAX)
      this.#outbox.push(() => ({ type: 'returned', requests }))
    }
  }

  /** Requests with complete bodies. Throws `message-invalid` when one needs a prefix that the job lacks. */
  whole(requests: readonly SentRequest[]): TaskRequest[] {
    const prefix = this.#prefix
    return requests.map(({ n, epoch, url, body, isPrefixed }) => {
      if (!isPrefixed) return { n, epoch, url, body }
      if (prefix === undefined)
        throw new HearthError('message-invalid', 'a request names a prefix that was not sent')
      return { n, epoch, url, body: prefix + body }
    })
  }

  /** Resolves when every message is sent or has failed. */
  flushed(): Promise<void> {
    return this.#outbox.flushed()
  }

  /** Ends the stream after the last message. Throws the errors of closing it. */
  async end(): Promise<void> {
    await this.#outbox.flushed()
    if (!this.#stream.isClosed) await this.#stream.close({ deadlineMs: CLOSE_MS_MAX })
  }

  #pushResults(): void {
    this.#outbox.push(() => {
      const [first] = frames(this.#results, FRAME_BYTES_MAX - 1024)
      if (first === undefined) return undefined
      this.#results.splice(0, first.length)
      if (this.#results.length > 0) this.#pushResults()
      const credit = this.#takeCredit()
      return { type: 'results', results: first, ...(credit === 0 ? {} : { credit }) }
    })
  }

  #takeCredit(): number {
    const credit = this.#credit
    this.#credit = 0
    return credit
  }
}
