import type { ZodType } from 'zod'
import { Bell } from '../waiting/bell.ts'
import type { ByteStream } from './byte-stream.ts'
import type { Clock } from '../clock.ts'
import { type Deadline, withDeadline } from '../waiting/deadline.ts'
import { HearthError, isHearthError } from '../errors.ts'
import { nextTurn } from '../event-loop.ts'
import {
  BULK_SLICE_BYTES,
  LENT_UNREAD_BYTES_HIGH,
  STREAM_UNREAD_BYTES_HIGH,
  STREAM_UNSENT_BYTES_MAX,
} from '../limits.ts'
import { Filling } from './filling.ts'
import { decodeMessage, encodeMessage, readLengthPrefix } from './message-codec.ts'
import { ReadQueue } from './read-queue.ts'
import { hasRoom, isOver } from './stream-room.ts'
import { joined, slicesOf } from './write-parts.ts'

export interface WaitOptions {
  /** How long the whole call may take, ms; then the stream is aborted and `deadline-passed` thrown. */
  deadlineMs: number
  /** Aborting it while the call waits aborts the stream as well, since half a message may be out. */
  signal?: AbortSignal | undefined
}

export interface MessageStreamComponents {
  clock: Clock
}

/**
 * Reads and writes a stream of libp2p or a direct lane: messages with a schema and bulk bytes between them,
 * with back-pressure both ways and a deadline on every wait.
 *
 * It exists because the stream of libp2p 3 loses data silently when used as documented
 * (docs/decisions/0003-one-stream-adapter.md); test/base/stream/message-stream.test.ts has a case for each trap:
 * `send` waits for room itself, since `onDrain()` resolves for ever after its first time;
 * reading takes `message` events and pauses the stream, since its iterator never holds a sender back;
 * it pauses in a microtask, since a pause from inside the event that `resume()` dispatches is undone;
 * and an end of stream is `undefined` between messages but `stream-closed` inside one, since a killed
 * sender looks like a clean end. Success is never concluded from an end: protocols acknowledge.
 */
export class MessageStream {
  /** The remote peer's id, as text. */
  readonly peer: string
  readonly #stream: ByteStream
  readonly #clock: Clock
  readonly #queue = new ReadQueue()
  readonly #unreadBytesHigh: number
  /** Where bytes go that a reader waits for. */
  #filling: Filling | undefined
  #remoteEnded = false
  #closedBy: Error | undefined
  /** Rung when there is more to read, or when the stream has ended. */
  readonly #more = new Bell()
  /** Rung when the stream may have room, or has ended. */
  readonly #room = new Bell()
  #isReading = false
  /** The last write under way: the next one waits for it, so that messages keep their order. */
  #lastWrite: Promise<void> | undefined
  #writesUnderWay = 0
  #closeListeners: ((error: Error | undefined) => void)[] = []

  constructor(components: MessageStreamComponents, stream: ByteStream, peer: string) {
    this.peer = peer
    this.#clock = components.clock
    this.#stream = stream
    this.#unreadBytesHigh = stream.lendsBytes === true ? LENT_UNREAD_BYTES_HIGH : STREAM_UNREAD_BYTES_HIGH
    stream.maxWriteBufferLength = STREAM_UNSENT_BYTES_MAX
    if (stream.lendsBytes === true) {
      stream.onBytes = (bytes) => this.#onBytes(bytes)
      stream.onRoom = () => this.#room.ring()
    } else {
      // libp2p sends what is queued in a microtask after `drain`; this one comes after that.
      const onRoom = (): void => queueMicrotask(() => this.#room.ring())
      stream.addEventListener('message', (event) => this.#onBytes(event.data))
      stream.addEventListener('drain', onRoom)
      stream.addEventListener('idle', onRoom)
    }
    stream.addEventListener('remoteCloseWrite', () => this.#onRemoteEnd())
    stream.addEventListener('close', (event) => this.#onClose(event.error))
    if (stream.remoteWriteStatus === 'closed') this.#remoteEnded = true
    if (isOver(stream)) this.#closedBy = endingOf(stream)
  }

  /** Whether nothing can be sent or received any more. */
  get isClosed(): boolean {
    return isOver(this.#stream)
  }

  /** Calls `listener` once when the stream is over, whoever ended it; at once when it already is. */
  onClose(listener: (error: Error | undefined) => void): void {
    if (this.isClosed) listener(this.#closedBy)
    else this.#closeListeners.push(listener)
  }

  /**
   * Sends one message, after all that was sent before; resolves when the stream can take the next one,
   * not when the peer has it. Throws `frame-too-large`, `stream-closed` or `deadline-passed`.
   */
  async send(message: unknown, options: WaitOptions): Promise<void> {
    await this.#write([encodeMessage(message)], options)
  }

  /** The same for several, small ones in one write: each write is encrypted on its own, and a system call at both ends. */
  async sendTogether(messages: readonly unknown[], options: WaitOptions): Promise<void> {
    await this.#write(joined(messages.map(encodeMessage)), options)
  }

  /**
   * Sends raw bytes beside the messages, in slices that nothing comes between; a message before them must
   * announce their length. Once it resolves the caller may overwrite them.
   */
  async sendBytes(bytes: Uint8Array, options: WaitOptions): Promise<void> {
    const isLent = this.#stream.lendsBytes === true
    await this.#write(slicesOf(isLent ? bytes : bytes.slice()), options, { isBulk: true, isLent })
  }

  /**
   * The next message, checked by `schema`; undefined when the peer ended its side between messages.
   * One read at a time. Throws `message-invalid`, `frame-too-large`, `stream-closed` (an end inside a
   * message) or `deadline-passed`; each of them ends the stream.
   */
  async receive<T>(schema: ZodType<T>, options: WaitOptions): Promise<T | undefined> {
    return await this.#read(async () => {
      let body = this.#takeBody()
      if (body === undefined) {
        await this.#untilHere(() => this.#hasBody(), 'the next message', options)
        body = this.#takeBody()
      }
      if (body === undefined && (this.#queue.byteLength > 0 || this.#closedBy !== undefined))
        throw this.#closedError('it ended inside a message')
      return body === undefined ? undefined : decodeMessage(body, schema, `peer ${this.peer}`)
    }, options)
  }

  /** Exactly `length` raw bytes. Throws `stream-closed` when the stream ends first, or `deadline-passed`. */
  async receiveBytes(length: number, options: WaitOptions): Promise<Uint8Array> {
    return await this.#read(async () => {
      await this.#untilBytes(() => length - this.#queue.byteLength, options)
      return this.#take(length)
    }, options)
  }

  /**
   * Fills `target` with raw bytes, each copied once. The deadline is for every slice anew, and `onBytes`
   * is told of them as they come: signs of life. Throws as `receiveBytes` does.
   */
  async receiveInto(
    target: Uint8Array,
    options: WaitOptions,
    onBytes: (bytes: number) => void,
  ): Promise<void> {
    await this.#read(async () => {
      const filling = new Filling(target, onBytes)
      this.#filling = filling
      try {
        filling.takeFrom(this.#queue)
        this.#letSenderGoOn()
        for (let end = 0; end < target.byteLength;) {
          end = Math.min(end + BULK_SLICE_BYTES, target.byteLength)
          await this.#untilBytes(() => end - filling.filled, options)
        }
      } finally {
        this.#filling = undefined
      }
    }, options)
  }

  /** Ends our side after what was sent; the peer may still send. */
  async close(options: WaitOptions): Promise<void> {
    if (this.isClosed) return
    await this.#within(options, 'the stream to close', async (signal) => {
      await this.#lastWrite
      try {
        await this.#stream.close({ signal })
      } catch (cause) {
        if (signal.aborted) throw signal.reason
        throw this.#closedError('it ended before all was sent', cause)
      }
    })
  }

  /** Ends both sides at once; what is unsent or unread is lost. */
  abort(error: Error): void {
    if (!isOver(this.#stream)) this.#stream.abort(error)
  }

  /**
   * Writes `parts` in order and with nothing between them, waiting for room after each; of bulk one in each turn,
   * and, when they are lent, until they have left.
   */
  async #write(
    parts: Iterable<Uint8Array>,
    options: WaitOptions,
    { isBulk, isLent }: { isBulk: boolean; isLent: boolean } = { isBulk: false, isLent: false },
  ): Promise<void> {
    options.signal?.throwIfAborted()
    const left = parts[Symbol.iterator]()
    const before = this.#lastWrite
    if (before === undefined && !isBulk && this.#offer(left)) return
    const write = this.#failing(async () => {
      const sinceMs = this.#clock.nowMs()
      if (before !== undefined) await this.#within(options, 'room to send', () => before)
      await this.#untilRoom(options, sinceMs)
      while (!this.#offer(left, isBulk ? 1 : Infinity)) {
        if (isBulk) await nextTurn()
        await this.#untilRoom(options, sinceMs)
      }
      if (isLent) await this.#untilRoom(options, sinceMs, 0)
    }, options.signal)
    this.#lastWrite = this.#settled(write)
    await write
  }

  /**
   * Resolves when the stream has room: at most `unsentBytesHigh` bytes wait in it. One `drain` event is not room:
   * libp2p dispatches it for every window update, however small, so a writer that goes on at each would queue a
   * whole write for every few bytes that leave. And `onDrain()` is no wait at all after its first time.
   * Throws `stream-closed` when the stream ends first.
   */
  async #untilRoom(options: WaitOptions, sinceMs: number, unsentBytesHigh?: number): Promise<void> {
    const stream = this.#stream
    const hasRoomOrIsOver = (): boolean => hasRoom(stream, unsentBytesHigh) || isOver(stream)
    await this.#room.until(hasRoomOrIsOver, this.#deadline(options, 'room to send'), sinceMs)
    if (!hasRoom(stream, unsentBytesHigh)) throw this.#closedError('it ended while sending')
  }

  /** Resolves when `write` is over, however it went, and forgets it when it was the last. */
  async #settled(write: Promise<void>): Promise<void> {
    this.#writesUnderWay += 1
    try {
      await write
    } catch {
      // The caller of this write gets the error; the next write detects it, too.
    }
    this.#writesUnderWay -= 1
    if (this.#writesUnderWay === 0) this.#lastWrite = undefined
  }

  /** Gives parts to the stream until none are left, which is true, or it has no more room, or has got so many. */
  #offer(left: Iterator<Uint8Array>, partsMax = Infinity): boolean {
    for (let parts = 0; ; parts += 1) {
      if (parts >= partsMax) return false
      const part = left.next()
      if (part.done === true) return true
      if (this.#stream.writeStatus !== 'writable') throw this.#closedError('our side of it has ended')
      try {
        this.#stream.send(part.value)
      } catch (cause) {
        throw this.#closedError('it cannot take any more', cause)
      }
      if (!hasRoom(this.#stream)) return false
    }
  }

  async #read<T>(take: () => Promise<T>, options: WaitOptions): Promise<T> {
    options.signal?.throwIfAborted()
    if (this.#isReading)
      throw new HearthError('internal', `two reads at once of a stream with peer ${this.peer}`)
    this.#isReading = true
    try {
      return await take()
    } catch (error) {
      this.abort(error as Error)
      throw error
    } finally {
      this.#isReading = false
    }
  }

  /** The body of the next message, when all of it is here. Throws `frame-too-large`. */
  #takeBody(): Uint8Array | undefined {
    const prefix = readLengthPrefix(this.#queue.peek(4))
    if (prefix === undefined || this.#queue.byteLength < prefix.prefixBytes + prefix.length) return undefined
    this.#queue.take(prefix.prefixBytes)
    return this.#take(prefix.length)
  }

  #take(length: number): Uint8Array {
    const bytes = this.#queue.take(length)
    this.#letSenderGoOn()
    return bytes
  }

  /** Whether all of the next message is here. Throws `frame-too-large`. */
  #hasBody(): boolean {
    const prefix = readLengthPrefix(this.#queue.peek(4))
    return prefix !== undefined && this.#queue.byteLength >= prefix.prefixBytes + prefix.length
  }

  async #untilBytes(bytesMissing: () => number, options: WaitOptions): Promise<void> {
    await this.#untilHere(() => bytesMissing() <= 0, 'the bytes announced', options)
    if (bytesMissing() > 0) throw this.#closedError(`it ended ${bytesMissing()} bytes early`)
  }

  /** Waits until what is wanted is here, or nothing more can come. */
  async #untilHere(isHere: () => boolean, what: string, options: WaitOptions): Promise<void> {
    if (isHere()) return
    this.#letSenderGoOn(true)
    await this.#more.until(() => isHere() || this.#nothingMore(), this.#deadline(options, what))
  }

  #nothingMore(): boolean {
    return (this.#remoteEnded || isOver(this.#stream)) && this.#stream.readBufferLength === 0
  }

  #onBytes(data: Uint8Array | Iterable<Uint8Array>): void {
    if (data instanceof Uint8Array) this.#keep(data)
    else for (const bytes of data) this.#keep(bytes)
    this.#more.ring()
    this.#holdSenderBack()
  }

  /** Straight to where they are wanted, if they are, and into the queue. */
  #keep(bytes: Uint8Array): void {
    const filling = this.#queue.byteLength === 0 ? this.#filling : undefined
    const rest = filling === undefined ? bytes : filling.take(bytes)
    if (rest !== undefined) this.#queue.push(this.#stream.lendsBytes === true ? new Uint8Array(rest) : rest)
  }

  /** Unless somebody waits for more than is here. */
  #holdSenderBack(): void {
    if (this.#queue.byteLength <= this.#unreadBytesHigh) return
    queueMicrotask(() => {
      if (this.#queue.byteLength <= this.#unreadBytesHigh || this.#more.isAwaited) return
      if (this.#stream.readStatus === 'readable') this.#stream.pause()
    })
  }

  /** The stream delivers the held bytes within this call. */
  #letSenderGoOn(needsBytes = false): void {
    if (this.#stream.readStatus !== 'paused') return
    if (!needsBytes && this.#queue.byteLength >= this.#unreadBytesHigh / 2) return
    try {
      this.#stream.resume()
    } catch (error) {
      // After the end no sender waits for room, and all held bytes have been delivered.
      if (!isOver(this.#stream)) throw error
    }
  }

  #onRemoteEnd(): void {
    this.#remoteEnded = true
    this.#more.ring()
  }

  #onClose(error: Error | undefined): void {
    this.#closedBy = error
    this.#more.ring()
    this.#room.ring()
    const listeners = this.#closeListeners
    this.#closeListeners = []
    for (const listener of listeners) listener(error)
  }

  #closedError(what: string, cause: unknown = this.#closedBy): HearthError {
    return new HearthError('stream-closed', `the stream with peer ${this.peer}: ${what}`, {
      data: { peer: this.peer },
      cause,
    })
  }

  async #within<T>(
    options: WaitOptions,
    what: string,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    return await this.#failing(
      async () => await withDeadline(this.#deadline(options, what), work),
      options.signal,
    )
  }

  #deadline({ deadlineMs: ms, signal }: WaitOptions, what: string): Deadline {
    return { clock: this.#clock, ms, whose: `peer ${this.peer}, ${what}`, signal }
  }

  /** Does `work`; what it throws ends the stream. */
  async #failing<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await work()
    } catch (error) {
      this.abort(error as Error)
      if (isHearthError(error) || signal?.aborted === true) throw error
      throw this.#closedError('it failed', error)
    }
  }
}

/** Why a stream that was over before it was wrapped ended; undefined for a clean end. */
function endingOf(stream: ByteStream): Error | undefined {
  return stream.status === 'closed' ? undefined : new Error(`the stream was ${stream.status}`)
}
