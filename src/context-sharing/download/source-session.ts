import { type Clock, every } from '../../base/clock.ts'
import { HearthError } from '../../base/errors.ts'
import { CHUNKS_REQUESTED_MAX, CHUNK_BYTES } from '../../base/limits.ts'
import type { MessageStream } from '../../base/stream/message-stream.ts'
import type { Network } from '../../base/stream/network.ts'
import { Bitfield, chunksOf } from '../content/bitfield.ts'
import type { ChunkMap } from '../content/chunk-map.ts'
import {
  CONTEXT_PROTOCOL,
  type FetchPriority,
  type HolderMessage,
  KEEP_ALIVE_MS,
  OPEN_DEADLINE_MS,
  SEND_DEADLINE_MS,
  SILENCE_MS_MAX,
  holderMessageSchema,
} from '../wire/messages.ts'
import { Outgoing } from '../wire/outgoing.ts'
import { TELL_CLAIM_EVERY_MS, TELL_HAVE_EVERY_MS } from './timings.ts'

/** How often the holder learns which chunks it need not send first, and which are in flight to this peer, ms. */
const TELL_EVERY_MS = { have: TELL_HAVE_EVERY_MS, claim: TELL_CLAIM_EVERY_MS }

export interface OpenedSource {
  stream: MessageStream
  /** The holder's chunks, and the chunk count that it announced for the context. */
  chunks: number
  bitfield: Uint8Array
  roundTripMs: number
}

export interface OpenSourceComponents {
  network: Network
  clock: Clock
}

/**
 * Opens a context at a peer. Throws `context-unknown` when it does not hold it, `limit-reached` when it is
 * busy (with `retryMs` and `alternatives` as data), and what Network and MessageStream throw.
 */
export async function openSource(
  { network, clock }: OpenSourceComponents,
  peer: string,
  contextId: string,
  options: { priority: FetchPriority; signal: AbortSignal },
): Promise<OpenedSource> {
  const wait = { deadlineMs: OPEN_DEADLINE_MS, signal: options.signal }
  const stream = await network.open(peer, CONTEXT_PROTOCOL, { lane: 'bulk', ...wait })
  try {
    const sentMs = clock.nowMs()
    await stream.send({ type: 'open', contextId, priority: options.priority }, wait)
    const answer = await stream.receive(holderMessageSchema, wait)
    if (answer?.type !== 'holding') throw notOpened(peer, answer)
    return { stream, chunks: answer.chunks, bitfield: answer.bitfield, roundTripMs: clock.nowMs() - sentMs }
  } catch (error) {
    stream.abort(error as Error)
    throw error
  }
}

/** Asks an opened source for the manifest. Its hash is for the caller to check. */
export async function receiveManifest({ stream }: OpenedSource, signal: AbortSignal): Promise<Uint8Array> {
  const wait = { deadlineMs: OPEN_DEADLINE_MS, signal }
  await stream.send({ type: 'manifest-request' }, wait)
  for (;;) {
    const answer = await stream.receive(holderMessageSchema, wait)
    // The next stream's bitfield includes the chunks that the holder gained meanwhile.
    if (answer?.type === 'have' || answer?.type === 'peers') continue
    if (answer?.type !== 'manifest') throw notOpened(stream.peer, answer)
    return await stream.receiveBytes(answer.bytes, wait)
  }
}

function notOpened(peer: string, answer: HolderMessage | undefined): HearthError {
  if (answer?.type === 'absent') {
    return new HearthError('context-unknown', `peer ${peer} does not hold the context`)
  }
  if (answer?.type === 'busy') {
    const { retryMs, alternatives } = answer
    return new HearthError('limit-reached', `peer ${peer} is busy`, { data: { retryMs, alternatives } })
  }
  const what = answer === undefined ? 'ended the stream' : `answered "${answer.type}"`
  return new HearthError('message-invalid', `peer ${peer} ${what} instead of opening the context`)
}

/** Callbacks of a running session. */
export interface SourceEvents {
  has: (chunks: number[]) => void
  bytes: (bytes: number) => void
  /**
   * Checks and stores a chunk; the session reads one more chunk meanwhile, and no further. `bytes` are
   * overwritten once the promise is settled.
   */
  chunk: (chunk: number, bytes: Uint8Array) => Promise<void>
  refused: (chunks: number[]) => void
  busy: (chunks: number[], retryMs: number, alternatives: string[]) => void
  /** Others that fetch the context. */
  peers: (peers: string[]) => void
}

/** The fetching side of one stream to one holder. */
export class SourceSession {
  readonly peer: string
  readonly #stream: MessageStream
  readonly #clock: Clock
  readonly #map: ChunkMap
  readonly #events: SourceEvents
  readonly #signal: AbortSignal
  readonly #outgoing: Outgoing
  /**
   * Outstanding requests per chunk: only requested chunks may arrive. A cancelled chunk stays,
   * since it may be on its way.
   */
  readonly #asked = new Map<number, number>()
  /** Two buffers: one receives a chunk while the previous chunk is stored from the other. */
  readonly #buffers: Uint8Array[] = []
  #filling = 0
  #storing: Promise<void> = Promise.resolve()

  constructor(
    components: { clock: Clock; stream: MessageStream; map: ChunkMap },
    events: SourceEvents,
    signal: AbortSignal,
  ) {
    this.peer = components.stream.peer
    this.#stream = components.stream
    this.#clock = components.clock
    this.#map = components.map
    this.#events = events
    this.#signal = signal
    this.#outgoing = new Outgoing(components, { tellEveryMs: TELL_EVERY_MS }, signal)
  }

  /** Receives until the stream ends. Throws what MessageStream does, or `message-invalid`. */
  async run(): Promise<void> {
    const stopKeepAlive = every(this.#clock, KEEP_ALIVE_MS, () => this.#outgoing.tell('have', []))
    try {
      for (;;) {
        const message = await this.#stream.receive(holderMessageSchema, {
          deadlineMs: SILENCE_MS_MAX,
          signal: this.#signal,
        })
        if (message === undefined) return
        await this.#onMessage(message)
      }
    } catch (error) {
      this.#stream.abort(error as Error)
      throw error
    } finally {
      stopKeepAlive()
      this.#outgoing.end()
      await this.#storing.catch(() => {})
    }
  }

  request(chunks: readonly number[]): void {
    for (const chunk of chunks) this.#asked.set(chunk, (this.#asked.get(chunk) ?? 0) + 1)
    this.#post({ type: 'request', chunks: [...chunks] })
  }

  cancel(chunks: readonly number[]): void {
    for (let from = 0; from < chunks.length; from += CHUNKS_REQUESTED_MAX) {
      this.#post({ type: 'cancel', chunks: chunks.slice(from, from + CHUNKS_REQUESTED_MAX) })
    }
  }

  tellHave(chunks: readonly number[]): void {
    this.#outgoing.tell('have', chunks)
  }

  tellClaim(chunks: readonly number[]): void {
    this.#outgoing.tell('claim', chunks)
  }

  complain(chunk: number): void {
    this.#post({ type: 'corrupt', chunk })
  }

  /** Ends this side of the stream after the queued messages; the holder then ends its own. */
  end(): void {
    this.#outgoing.flush()
    this.#outgoing.post(async () => {
      await this.#stream.close({ deadlineMs: SEND_DEADLINE_MS, signal: this.#signal })
    })
  }

  #post(message: object): void {
    this.#outgoing.post(async () => {
      await this.#stream.send(message, { deadlineMs: SEND_DEADLINE_MS, signal: this.#signal })
    })
  }

  async #onMessage(message: HolderMessage): Promise<void> {
    switch (message.type) {
      case 'data':
        return await this.#onData(message.chunk, message.bytes)
      case 'have':
        return this.#events.has([...chunksOf(message.ranges, this.#map.count)])
      case 'busy':
        return this.#events.busy(message.chunks, message.retryMs, message.alternatives)
      case 'peers':
        return this.#events.peers(message.peers)
      case 'reject':
        if (message.chunks.length > 0) return this.#events.refused(message.chunks)
        throw this.#broken(`it ended the session: ${message.code}`)
      case 'holding':
      case 'absent':
      case 'manifest':
        throw this.#broken(`"${message.type}" in the middle of a session`)
    }
  }

  async #onData(chunk: number, length: number): Promise<void> {
    this.#requireAsked(chunk)
    if (this.#map.chunk(chunk).length !== length)
      throw this.#broken(`it sent ${length} bytes for chunk ${chunk}`)
    const bytes = await this.#receive(length)
    await this.#storing
    this.#storing = this.#events.chunk(chunk, bytes)
    this.#storing.catch(() => {})
  }

  #requireAsked(chunk: number): void {
    const times = this.#asked.get(chunk)
    if (times === undefined) throw this.#broken(`it sent chunk ${chunk}, which was not requested`)
    if (times > 1) this.#asked.set(chunk, times - 1)
    else this.#asked.delete(chunk)
  }

  /** Reads into the buffer whose last chunk is already stored. */
  async #receive(length: number): Promise<Uint8Array> {
    this.#filling = 1 - this.#filling
    const buffer = (this.#buffers[this.#filling] ??= Buffer.allocUnsafeSlow(CHUNK_BYTES))
    const bytes = buffer.subarray(0, length)
    const wait = { deadlineMs: SILENCE_MS_MAX, signal: this.#signal }
    await this.#stream.receiveInto(bytes, wait, this.#events.bytes)
    return bytes
  }

  #broken(what: string): HearthError {
    return new HearthError('message-invalid', `peer ${this.peer} broke the context protocol: ${what}`)
  }
}

/** The holder's bitfield, which must be of this context. Throws `message-invalid`. */
export function bitfieldOf(source: OpenedSource, map: ChunkMap): Bitfield {
  if (source.chunks === map.count) return new Bitfield(map.count, source.bitfield)
  throw new HearthError(
    'message-invalid',
    `peer ${source.stream.peer} announced ${source.chunks} chunks for the context, which has ${map.count}`,
  )
}
