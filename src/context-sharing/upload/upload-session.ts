import { type Clock, every } from '../../base/clock.ts'
import { CHUNKS_REQUESTED_MAX } from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { MessageStream } from '../../base/stream/message-stream.ts'
import { Bitfield, chunksOf } from '../content/bitfield.ts'
import type { ChunkBuffers } from './chunk-buffers.ts'
import type { HeldContext } from '../store/held-context.ts'
import {
  type FetcherMessage,
  KEEP_ALIVE_MS,
  type RejectCode,
  SEND_DEADLINE_MS,
  SILENCE_MS_MAX,
  fetcherMessageSchema,
} from '../wire/messages.ts'
import { Outgoing } from '../wire/outgoing.ts'
import type { Release } from './releases.ts'
import { HAVE_EVERY_MS } from './timings.ts'
import type { UploadClass } from './core/upload-budget.ts'
import type { UploadGate } from './upload-gate.ts'

/** A chunk on its way from disk; its buffer is given back once it is sent, or not wanted. */
interface Reading {
  chunk: number
  buffer: Uint8Array
  bytes: Promise<Uint8Array | undefined>
}

export interface UploadSessionComponents {
  clock: Clock
  log: Logger
  gate: UploadGate
  buffers: ChunkBuffers
  /** How much its chunks matter now. */
  uploadClass: () => UploadClass
  /** Other peers that have some of the context, for one that is turned away. */
  alternatives: () => string[]
  /** It was sent elsewhere. */
  onRefused: (reason: 'waited' | 'month') => void
  /** Begins to show the fetcher chunk by chunk what is here; undefined when all is shown at once. */
  release: (tell: (chunks: number[]) => void) => Release | undefined
  /** The fetcher's own statements. */
  onClaim: (chunks: number[]) => void
}

/** Serves one context to one fetcher, over one stream, from what is on disk at each moment. */
export class UploadSession {
  readonly peer: string
  /** The chunks that the fetcher announced. */
  readonly fetcherHas: Bitfield
  readonly #components: UploadSessionComponents
  readonly #context: HeldContext
  readonly #stream: MessageStream
  readonly #signal: AbortSignal
  readonly #outgoing: Outgoing
  /** Asked for and not sent, in order. */
  readonly #requested = new Set<number>()
  #isSending = false
  /** The chunk that is read while the one before it is sent. */
  #ahead: Reading | undefined
  #release: Release | undefined

  constructor(
    components: UploadSessionComponents,
    context: HeldContext,
    stream: MessageStream,
    signal: AbortSignal,
  ) {
    this.peer = stream.peer
    this.#components = components
    this.#context = context
    this.#stream = stream
    this.#signal = signal
    this.#outgoing = new Outgoing(
      { clock: components.clock, stream },
      { tellEveryMs: { have: HAVE_EVERY_MS } },
      signal,
    )
    this.fetcherHas = new Bitfield(context.map.count)
  }

  /** Serves until the fetcher ends the stream. Throws what MessageStream does. */
  async run(): Promise<void> {
    const { held } = this.#context
    // Told of from here on: a chunk that comes between the bitfield and the first `have` is in one of them.
    const stopTelling = this.#context.onHeld((chunk) => this.#outgoing.tell('have', [chunk]))
    const stopKeepAlive = every(this.#components.clock, KEEP_ALIVE_MS, () => this.#outgoing.tell('have', []))
    this.#release = this.#components.release((chunks) => this.#outgoing.tell('have', chunks))
    const shown = this.#release?.shown ?? held
    try {
      await this.#outgoing.send({ type: 'holding', chunks: held.size, bitfield: shown.toBytes() })
      for (;;) {
        const message = await this.#stream.receive(fetcherMessageSchema, {
          deadlineMs: SILENCE_MS_MAX,
          signal: this.#signal,
        })
        if (message === undefined || !(await this.#onMessage(message))) return
      }
    } finally {
      stopTelling()
      stopKeepAlive()
      this.#outgoing.end()
      this.#release?.end()
      this.#requested.clear()
    }
  }

  /** Tells the fetcher of others that fetch the context. */
  tellPeers(peers: string[]): void {
    if (peers.length > 0)
      this.#outgoing.post(() => this.#stream.send({ type: 'peers', peers }, this.#sendOptions()))
  }

  #sendOptions(): { deadlineMs: number; signal: AbortSignal } {
    return { deadlineMs: SEND_DEADLINE_MS, signal: this.#signal }
  }

  /** False when the session is over. */
  async #onMessage(message: FetcherMessage): Promise<boolean> {
    switch (message.type) {
      case 'open':
        return await this.#refuse('out-of-turn')
      case 'manifest-request':
        await this.#sendManifest()
        break
      case 'request':
        return await this.#onRequest(message.chunks)
      case 'cancel':
        for (const chunk of message.chunks) this.#requested.delete(chunk)
        this.#release?.cancelled(message.chunks)
        break
      case 'have':
        this.#onHave([...chunksOf(message.ranges, this.#context.map.count)])
        break
      case 'claim':
        this.#components.onClaim([...chunksOf(message.ranges, this.#context.map.count)])
        break
      case 'corrupt':
        await this.#onComplaint(message.chunk)
        break
    }
    return true
  }

  #onHave(chunks: readonly number[]): void {
    for (const chunk of chunks) this.fetcherHas.add(chunk)
    this.#release?.held(chunks)
  }

  async #sendManifest(): Promise<void> {
    const bytes = this.#context.manifestBytes
    this.#components.gate.charge(bytes.byteLength)
    await this.#outgoing.send({ type: 'manifest', bytes: bytes.byteLength }, bytes)
  }

  async #onRequest(chunks: readonly number[]): Promise<boolean> {
    const missing = chunks.filter((chunk) => !this.#context.held.has(chunk))
    if (missing.length > 0) await this.#reject('not-held', missing)
    for (const chunk of chunks) if (this.#context.held.has(chunk)) this.#requested.add(chunk)
    if (this.#requested.size > CHUNKS_REQUESTED_MAX) return await this.#refuse('too-many')
    this.#release?.asked(chunks)
    this.#startSending()
    return true
  }

  #startSending(): void {
    if (this.#isSending) return
    this.#isSending = true
    this.#sendRequested()
      .catch((error: unknown) => this.#stream.abort(error as Error))
      .finally(() => {
        this.#isSending = false
      })
  }

  async #sendRequested(): Promise<void> {
    const { gate, uploadClass, onRefused } = this.#components
    try {
      for (let chunk = this.#next(); chunk !== undefined; chunk = this.#next()) {
        const bytes = this.#context.map.chunk(chunk).length
        const passage = await gate.pass(this.peer, uploadClass(), bytes, this.#signal)
        if (!passage.isGranted) {
          onRefused(passage.reason)
          return await this.#sendBusy(passage.retryMs)
        }
        if (!this.#requested.delete(chunk)) {
          // Cancelled during the wait.
          passage.refund()
          continue
        }
        try {
          await this.#send(chunk)
        } finally {
          passage.sent()
        }
      }
    } finally {
      await this.#dropAhead()
    }
  }

  #next(): number | undefined {
    const [chunk] = this.#requested
    return chunk
  }

  async #send(chunk: number): Promise<void> {
    if (this.#ahead?.chunk !== chunk) await this.#dropAhead()
    const reading = this.#ahead ?? this.#read(chunk)
    this.#ahead = undefined
    try {
      const bytes = await reading.bytes
      if (bytes === undefined) return await this.#onUnreadable(chunk)
      this.#readAhead()
      await this.#outgoing.send({ type: 'data', chunk, bytes: bytes.byteLength }, bytes)
      this.#release?.sent(chunk)
    } finally {
      this.#components.buffers.give(reading.buffer)
    }
  }

  #readAhead(): void {
    const next = this.#next()
    if (next !== undefined) this.#ahead = this.#read(next)
  }

  #read(chunk: number): Reading {
    const buffer = this.#components.buffers.take()
    const bytes = this.#context.read(chunk, buffer)
    // The sender of the chunk sees the error; the failure of a cancelled chunk is ignored.
    bytes.catch(() => {})
    return { chunk, buffer, bytes }
  }

  async #dropAhead(): Promise<void> {
    const ahead = this.#ahead
    if (ahead === undefined) return
    this.#ahead = undefined
    await ahead.bytes.catch(() => {})
    this.#components.buffers.give(ahead.buffer)
  }

  async #sendBusy(retryMs: number): Promise<void> {
    const chunks = [...this.#requested]
    this.#requested.clear()
    await this.#outgoing.send({
      type: 'busy',
      chunks,
      retryMs,
      alternatives: this.#components.alternatives(),
    })
  }

  /** Never sent: a peer that serves what it has not checked looks like a liar. */
  async #onUnreadable(chunk: number): Promise<void> {
    this.#components.log.error(
      { contextId: this.#context.contextId, chunk },
      'a stored chunk is damaged on disk: remove the context and fetch it again',
    )
    await this.#reject('unreadable', [chunk])
  }

  async #onComplaint(chunk: number): Promise<void> {
    if (chunk >= this.#context.map.count) return
    const isSound = await this.#context.check(chunk)
    this.#components.log.warn(
      { peer: this.peer, contextId: this.#context.contextId, chunk, isSound },
      'a peer reports that a chunk from here was corrupted',
    )
  }

  async #reject(code: RejectCode, chunks: number[]): Promise<void> {
    await this.#outgoing.send({ type: 'reject', code, chunks })
  }

  async #refuse(code: RejectCode): Promise<false> {
    await this.#reject(code, [])
    return false
  }
}
