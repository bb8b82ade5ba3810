import { every, type Cancel, type Clock } from '../../base/clock.ts'
import { HearthError } from '../../base/errors.ts'
import { FRAME_BYTES_MAX, REQUESTS_PER_FRAME_MAX } from '../../base/limits.ts'
import type { MessageStream } from '../../base/stream/message-stream.ts'
import type { Network } from '../../base/stream/network.ts'
import { Outbox } from '../wire/outbox.ts'
import {
  frames,
  TASK_PROTOCOL,
  workerMessageSchema,
  type LeaseKey,
  type SentRequest,
  type TaskRequest,
  type WorkerMessage,
} from '../wire/task-messages.ts'

export interface TaskLinkComponents {
  network: Network
  clock: Clock
}

export interface TaskLinkOptions {
  job: string
  contextId: string
  /** The common prefix of most bodies, which is sent once. */
  prefix: string | undefined
  /** Requests of one lease, where the job fixes that. */
  leaseSize: number | undefined
  /** How long dialling and opening may take, ms. */
  openMs: number
  /** Longest interval between messages to the peer, ms. */
  aliveEveryMs: number
  /** How long the peer may be silent, or not read its messages, ms. */
  silenceMs: number
}

export interface TaskLinkListener {
  onMessage(message: WorkerMessage): void
  /** Called once, however the link ends. */
  onEnd(reason: string): void
}

type ReadRequests = (leases: readonly LeaseKey[]) => TaskRequest[]

/** How long an acknowledgement waits for requests to share its frame, ms; no peer waits for it. */
const ACKNOWLEDGE_WAIT_MS = 20

/** A submitter's long-lived stream to one serving peer. */
export class TaskLink {
  readonly peer: string
  #components: TaskLinkComponents
  #options: TaskLinkOptions
  #listener: TaskLinkListener
  #stop = new AbortController()
  #stream: MessageStream | undefined
  #outbox: Outbox | undefined
  #cancelAlive: Cancel = () => {}
  #cancelAcknowledging: Cancel | undefined
  #acknowledgements: LeaseKey[] = []
  #cancellations: LeaseKey[] = []
  #hasEnded = false

  constructor(
    components: TaskLinkComponents,
    peer: string,
    options: TaskLinkOptions,
    listener: TaskLinkListener,
  ) {
    this.#components = components
    this.peer = peer
    this.#options = options
    this.#listener = listener
  }

  /** Opens the stream and reads it until it ends; every end is reported to the listener, none is thrown. */
  async run(onOpen: () => void): Promise<void> {
    const { network, clock } = this.#components
    const { job, contextId, prefix, leaseSize, openMs, aliveEveryMs, silenceMs } = this.#options
    const signal = this.#stop.signal
    try {
      const stream = await network.open(this.peer, TASK_PROTOCOL, {
        lane: 'control',
        deadlineMs: openMs,
        signal,
      })
      // It was ended while the stream came.
      if (this.#hasEnded) return stream.abort(signal.reason as Error)
      this.#stream = stream
      this.#outbox = new Outbox(stream, { deadlineMs: silenceMs, signal }, (error) => this.end(error.message))
      this.#outbox.push(() => ({
        type: 'open',
        job,
        contextId,
        ...(prefix === undefined ? {} : { prefix }),
        ...(leaseSize === undefined ? {} : { leaseSize }),
      }))
      this.#cancelAlive = every(clock, aliveEveryMs, () => this.#outbox?.push(() => ({ type: 'alive' })))
      onOpen()
      for (;;) {
        const message = await stream.receive(workerMessageSchema, { deadlineMs: silenceMs, signal })
        if (message === undefined || this.#hasEnded) break
        this.#listener.onMessage(message)
      }
      this.end('the peer ended the stream')
    } catch (error) {
      this.end((error as Error).message)
    }
  }

  /**
   * Sends requests in frames; `read` gets their bodies when their turn has come. With a lease size they are
   * one lease.
   */
  send(leases: readonly LeaseKey[], read: ReadRequests): void {
    const { leaseSize } = this.#options
    this.#sendAcknowledgements()
    for (let from = 0; from < leases.length; from += REQUESTS_PER_FRAME_MAX) {
      const lease = leaseSize !== undefined && from === 0 ? leases.length : undefined
      this.#sendGroup(leases.slice(from, from + REQUESTS_PER_FRAME_MAX), read, lease)
    }
  }

  #sendGroup(leases: readonly LeaseKey[], read: ReadRequests, lease: number | undefined): void {
    this.#outbox?.push(() => {
      const requests = read(leases).map((request) => this.#withoutPrefix(request))
      const [first, ...rest] = frames(requests, FRAME_BYTES_MAX - 1024)
      for (const more of rest) this.#outbox?.push(() => ({ type: 'requests', requests: more }))
      if (first === undefined) return undefined
      return { type: 'requests', requests: first, ...(lease === undefined ? {} : { lease }) }
    })
  }

  #withoutPrefix(request: TaskRequest): SentRequest {
    const { prefix } = this.#options
    if (prefix === undefined || !request.body.startsWith(prefix)) return { ...request, isPrefixed: false }
    return { ...request, body: request.body.slice(prefix.length), isPrefixed: true }
  }

  /** Tells the peer that results are durable, together with the next requests or shortly after. */
  acknowledge(keys: readonly LeaseKey[]): void {
    this.#acknowledgements.push(...keys)
    this.#cancelAcknowledging ??= this.#components.clock.schedule(
      ACKNOWLEDGE_WAIT_MS,
      () => this.#sendAcknowledgements(),
      { background: true },
    )
  }

  #sendAcknowledgements(): void {
    this.#cancelAcknowledging?.()
    this.#cancelAcknowledging = undefined
    if (this.#acknowledgements.length > 0) this.#pushKeys('acknowledge', this.#acknowledgements)
  }

  /** Cancels requests at the peer. */
  cancel(keys: readonly LeaseKey[]): void {
    if (this.#cancellations.length === 0) this.#pushKeys('cancel', this.#cancellations)
    this.#cancellations.push(...keys)
  }

  #pushKeys(type: 'acknowledge' | 'cancel', keys: LeaseKey[]): void {
    this.#outbox?.push(() => {
      const some = keys.splice(0, REQUESTS_PER_FRAME_MAX)
      if (keys.length > 0) this.#pushKeys(type, keys)
      if (some.length === 0) return undefined
      return type === 'acknowledge' ? { type, results: some } : { type, requests: some }
    })
  }

  /** Sends what is queued, then ends the stream. Throws nothing: the journal has all that matters. */
  async finish(deadlineMs: number): Promise<void> {
    const cancel = this.#components.clock.schedule(deadlineMs, () => this.end('closing took too long'))
    this.#sendAcknowledgements()
    try {
      await this.#outbox?.flushed()
      if (this.#stream?.isClosed === false) await this.#stream.close({ deadlineMs })
    } catch {
      // The peer is already gone: it keeps no acknowledged result, and a new lease needs no goodbye.
    } finally {
      cancel()
      this.end('done')
    }
  }

  /** Ends the link now, with a reason. */
  end(reason: string): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#cancelAlive()
    this.#cancelAcknowledging?.()
    const error = new HearthError('stream-closed', reason)
    this.#stream?.abort(error)
    this.#stop.abort(error)
    this.#listener.onEnd(reason)
  }
}
