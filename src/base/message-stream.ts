import type { Stream } from '@libp2p/interface'
import type { ZodType } from 'zod'
import type { Clock } from './clock.ts'
import { HearthError } from './errors.ts'
import { BULK_SLICE_BYTES, STREAM_UNREAD_BYTES_HIGH, STREAM_UNSENT_BYTES_MAX } from './limits.ts'
import { decodeMessage, encodeMessage, readLengthPrefix } from './message-codec.ts'
import { ReadQueue } from './read-queue.ts'

export interface WaitOptions {
  /** How long this one wait may take, ms; then the stream is aborted and `deadline-passed` thrown. */
  deadlineMs: number
  signal?: AbortSignal | undefined
}

export interface MessageStreamComponents {
  clock: Clock
}

/**
 * The one way that Hearth reads and writes a libp2p stream: messages of a schema, and bulk bytes
 * beside them, with back-pressure both ways and a deadline on every wait.
 *
 * It exists because the stream of libp2p 3 loses data silently when used as documented
 * (docs/decisions/0003-one-stream-adapter.md); test/base/message-stream.test.ts has a case for each trap:
 * `send` waits for the `drain` event itself, since `onDrain()` resolves for ever after its first time;
 * reading takes `message` events and pauses the stream, since its iterator never holds a sender back;
 * it pauses in a microtask, since a pause from inside the event that `resume()` dispatches is undone;
 * and an end of stream is `undefined` between messages but `stream-closed` inside one, since a killed
 * sender looks like a clean end. Success is never concluded from an end: protocols acknowledge.
 */
export class MessageStream {
  /** The remote peer's id, as text. */
  readonly peer: string
  readonly #stream: Stream
  readonly #clock: Clock
  readonly #queue = new ReadQueue()
  #remoteEnded = false
  #closedBy: Error | undefined
  #wakeReader: (() => void) | undefined
  #closeListeners: ((error: Error | undefined) => void)[] = []

  constructor(components: MessageStreamComponents, stream: Stream, peer: string) {
    this.peer = peer
    this.#clock = components.clock
    this.#stream = stream
    stream.maxWriteBufferLength = STREAM_UNSENT_BYTES_MAX
    stream.addEventListener('message', (event) => {
      for (const bytes of event.data instanceof Uint8Array ? [event.data] : event.data)
        this.#queue.push(bytes)
      this.#holdSenderBack()
      this.#wakeReader?.()
    })
    stream.addEventListener('remoteCloseWrite', () => this.#onRemoteEnd())
    stream.addEventListener('close', (event) => this.#onClose(event.error))
    if (stream.remoteWriteStatus === 'closed') this.#remoteEnded = true
    if (isOver(stream)) this.#onClose(undefined)
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
   * Sends one message; resolves when the stream can take the next one, not when the peer has it.
   * Throws `frame-too-large`, `stream-closed` or `deadline-passed`.
   */
  async send(message: unknown, options: WaitOptions): Promise<void> {
    await this.#write(encodeMessage(message), options)
  }

  /** Sends raw bytes beside the messages, in slices; a message before them must announce their length. */
  async sendBytes(bytes: Uint8Array, options: WaitOptions): Promise<void> {
    for (let from = 0; from < bytes.byteLength; from += BULK_SLICE_BYTES) {
      await this.#write(bytes.subarray(from, from + BULK_SLICE_BYTES), options)
    }
  }

  /**
   * The next message, checked by `schema`; undefined when the peer ended its side between messages.
   * Throws `message-invalid`, `frame-too-large`, `stream-closed` (an end inside a message) or
   * `deadline-passed`; each of them ends the stream.
   */
  async receive<T>(schema: ZodType<T>, options: WaitOptions): Promise<T | undefined> {
    try {
      const prefix = await this.#receivePrefix(options)
      if (prefix === undefined) return undefined
      this.#queue.take(prefix.prefixBytes)
      const body = await this.#receiveExactly(prefix.length, options)
      return decodeMessage(body, schema, `peer ${this.peer}`)
    } catch (error) {
      this.abort(error as Error)
      throw error
    }
  }

  /** Exactly `length` raw bytes. Throws `stream-closed` when the stream ends first, or `deadline-passed`. */
  async receiveBytes(length: number, options: WaitOptions): Promise<Uint8Array> {
    try {
      return await this.#receiveExactly(length, options)
    } catch (error) {
      this.abort(error as Error)
      throw error
    }
  }

  /** Ends our side after what was sent; the peer may still send. */
  async close(options: WaitOptions): Promise<void> {
    await this.#within(options, 'the stream to close', (signal) => this.#stream.close({ signal }))
  }

  /** Ends both sides at once; what is unsent or unread is lost. */
  abort(error: Error): void {
    if (!isOver(this.#stream)) this.#stream.abort(error)
  }

  async #write(bytes: Uint8Array, options: WaitOptions): Promise<void> {
    options.signal?.throwIfAborted()
    this.#throwIfUnwritable()
    try {
      if (this.#stream.send(bytes)) return
    } catch (cause) {
      throw this.#closedError('the stream cannot take any more', cause)
    }
    await this.#within(options, 'room to send', (signal) => this.#drained(signal))
  }

  /** One wait for room: the `drain` event, or the end of the stream. Not `onDrain()`: it works only once. */
  #drained(signal: AbortSignal): Promise<void> {
    const stream = this.#stream
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        stream.removeEventListener('drain', onDrain)
        stream.removeEventListener('close', onClose)
        signal.removeEventListener('abort', onAbort)
        finish()
      }
      const onDrain = (): void => settle(resolve)
      const onClose = (): void => settle(() => reject(this.#closedError('it ended while sending')))
      const onAbort = (): void => settle(() => reject(signal.reason as Error))
      stream.addEventListener('drain', onDrain)
      stream.addEventListener('close', onClose)
      signal.addEventListener('abort', onAbort)
    })
  }

  async #receivePrefix(options: WaitOptions): Promise<{ length: number; prefixBytes: number } | undefined> {
    for (;;) {
      const prefix = readLengthPrefix(this.#queue.peek(4))
      if (prefix !== undefined) return prefix
      if (!(await this.#moreBytes(options))) {
        if (this.#queue.byteLength === 0 && this.#closedBy === undefined) return undefined
        throw this.#closedError('it ended inside a message')
      }
    }
  }

  async #receiveExactly(length: number, options: WaitOptions): Promise<Uint8Array> {
    while (this.#queue.byteLength < length) {
      if (!(await this.#moreBytes(options))) {
        throw this.#closedError(`it ended ${length - this.#queue.byteLength} bytes early`)
      }
    }
    const bytes = this.#queue.take(length)
    this.#letSenderGoOn()
    return bytes
  }

  /** Waits until the queue has grown: true, or false when nothing more can come. */
  async #moreBytes(options: WaitOptions): Promise<boolean> {
    options.signal?.throwIfAborted()
    const before = this.#queue.byteLength
    this.#letSenderGoOn(true)
    if (this.#queue.byteLength > before) return true
    if (this.#nothingMore()) return false
    await this.#within(options, 'the next bytes', (signal) => {
      return new Promise<void>((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
        this.#wakeReader = resolve
      })
    }).finally(() => {
      this.#wakeReader = undefined
    })
    return this.#queue.byteLength > before || !this.#nothingMore()
  }

  #nothingMore(): boolean {
    return (this.#remoteEnded || isOver(this.#stream)) && this.#stream.readBufferLength === 0
  }

  #holdSenderBack(): void {
    if (this.#queue.byteLength <= STREAM_UNREAD_BYTES_HIGH) return
    queueMicrotask(() => {
      if (this.#queue.byteLength > STREAM_UNREAD_BYTES_HIGH && this.#stream.readStatus === 'readable')
        this.#stream.pause()
    })
  }

  #letSenderGoOn(needsBytes = false): void {
    if (this.#stream.readStatus !== 'paused') return
    if (needsBytes || this.#queue.byteLength < STREAM_UNREAD_BYTES_HIGH / 2) this.#stream.resume()
  }

  #onRemoteEnd(): void {
    this.#remoteEnded = true
    this.#wakeReader?.()
  }

  #onClose(error: Error | undefined): void {
    this.#closedBy = error
    this.#wakeReader?.()
    const listeners = this.#closeListeners
    this.#closeListeners = []
    for (const listener of listeners) listener(error)
  }

  #throwIfUnwritable(): void {
    if (this.#stream.writeStatus !== 'writable') throw this.#closedError('it is already closed')
  }

  #closedError(what: string, cause: unknown = this.#closedBy): HearthError {
    return new HearthError('stream-closed', `the stream with peer ${this.peer}: ${what}`, { cause })
  }

  async #within<T>(
    options: WaitOptions,
    what: string,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const stop = new AbortController()
    const onOuterAbort = (): void => stop.abort(options.signal?.reason)
    options.signal?.addEventListener('abort', onOuterAbort, { once: true })
    const cancel = this.#clock.schedule(options.deadlineMs, () =>
      stop.abort(
        new HearthError(
          'deadline-passed',
          `peer ${this.peer} kept us waiting ${options.deadlineMs} ms for ${what}`,
          {
            data: { peer: this.peer, ms: options.deadlineMs },
          },
        ),
      ),
    )
    try {
      return await work(stop.signal)
    } catch (error) {
      if (stop.signal.aborted) this.abort(error as Error)
      throw error
    } finally {
      cancel()
      options.signal?.removeEventListener('abort', onOuterAbort)
    }
  }
}

function isOver(stream: Stream): boolean {
  return stream.status === 'closed' || stream.status === 'aborted' || stream.status === 'reset'
}
