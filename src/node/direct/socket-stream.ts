import type { Socket } from 'node:net'
import {
  StreamCloseEvent,
  TypedEventEmitter,
  type AbortOptions,
  type MessageStreamEvents,
  type Stream,
} from '@libp2p/interface'
import { DIRECT_TURN_BYTES } from '../../base/limits.ts'
import { TurnBudget, type TurnSource } from '../../base/turn-budget.ts'
import type { ByteStream } from '../../base/stream/byte-stream.ts'
import { HearthError } from '../../base/errors.ts'

const SOCKET_READ_BYTES = 64 * 1024
const TLS_RECORD_BYTES = 16 * 1024
/** Shared by all direct lanes of this process. */
const turnBudget = new TurnBudget(DIRECT_TURN_BYTES)

/**
 * Reads a socket into one buffer again and again (`onread` of `net.connect`). A buffer of its own for each
 * 16 KiB, which is what `data` events bring, costs more in garbage collection than TLS does in all.
 */
export class SocketReader {
  readonly buffer: Buffer = Buffer.allocUnsafeSlow(SOCKET_READ_BYTES)
  /** Handles bytes, which are overwritten after it returns. */
  onBytes: (bytes: Uint8Array) => void = () => {}
  /** A view of one whole TLS record, the size of most reads. */
  readonly #record = this.buffer.subarray(0, TLS_RECORD_BYTES)

  readonly callback = (length: number): boolean => {
    this.onBytes(length === TLS_RECORD_BYTES ? this.#record : this.buffer.subarray(0, length))
    return true
  }
}

/**
 * A connected socket as `MessageStream` takes it, with the meaning that libp2p's streams give to the same
 * names. Both sides must allow half-open sockets. Nothing is buffered here: a paused socket leaves its
 * bytes where they are, and a full one says so.
 */
export class SocketStream extends TypedEventEmitter<MessageStreamEvents> implements ByteStream, TurnSource {
  status: Stream['status'] = 'open'
  readStatus: Stream['readStatus'] = 'readable'
  writeStatus: Stream['writeStatus'] = 'writable'
  remoteWriteStatus: Stream['remoteWriteStatus'] = 'writable'
  readonly lendsBytes = true
  readonly readBufferLength = 0
  onBytes: (bytes: Uint8Array) => void = () => {}
  onRoom: () => void = () => {}
  /** The socket says when it is full; `MessageStream` waits for it. */
  maxWriteBufferLength?: number
  readonly #socket: Socket

  /** @param reader what was given to the socket as `onread`, or undefined for its `data` events */
  constructor(socket: Socket, reader?: SocketReader) {
    super()
    this.#socket = socket
    const onBytes = (bytes: Uint8Array): void => {
      turnBudget.spend(this, bytes.byteLength)
      this.onBytes(bytes)
    }
    if (reader === undefined) socket.on('data', onBytes)
    else reader.onBytes = onBytes
    socket.on('drain', () => this.onRoom())
    socket.on('end', () => this.#onEnd())
    socket.on('error', (error) => this.#over('reset', error))
    socket.on('close', () => this.#over('closed', undefined))
    socket.resume()
  }

  get writableNeedsDrain(): boolean {
    return this.#socket.writableNeedDrain
  }

  get writeBufferLength(): number {
    return this.#socket.writableLength
  }

  send(data: Parameters<Stream['send']>[0]): boolean {
    if (this.writeStatus !== 'writable') throw new HearthError('stream-closed', 'the socket is closed')
    return this.#socket.write(data instanceof Uint8Array ? data : data.subarray(), this.#onWritten)
  }

  readonly #onWritten = (): void => {
    if (this.#socket.writableLength === 0) this.onRoom()
  }

  pause(): void {
    this.readStatus = 'paused'
    this.#socket.pause()
  }

  resume(): void {
    this.readStatus = 'readable'
    this.#socket.resume()
  }

  pauseForTurn(): void {
    this.#socket.pause()
  }

  /** Unless the reader has paused it meanwhile. */
  resumeAfterTurn(): void {
    if (this.readStatus === 'readable') this.#socket.resume()
  }

  /** Ends our side after what was sent. */
  async close({ signal }: AbortOptions = {}): Promise<void> {
    if (this.writeStatus !== 'writable') return
    this.writeStatus = 'closing'
    const sent = Promise.withResolvers<void>()
    const fail = (): void => sent.reject(signal?.reason ?? new Error('the socket closed'))
    signal?.addEventListener('abort', fail, { once: true })
    this.#socket.once('close', fail)
    this.#socket.end(() => sent.resolve())
    try {
      await sent.promise
      this.writeStatus = 'closed'
    } finally {
      signal?.removeEventListener('abort', fail)
      this.#socket.off('close', fail)
    }
  }

  abort(error: Error): void {
    if (this.status !== 'open') return
    this.#over('aborted', error)
    this.#socket.destroy()
  }

  #onEnd(): void {
    this.remoteWriteStatus = 'closed'
    this.safeDispatchEvent('remoteCloseWrite')
  }

  #over(status: 'closed' | 'aborted' | 'reset', error: Error | undefined): void {
    if (this.status !== 'open') return
    this.status = status
    this.readStatus = 'closed'
    this.writeStatus = 'closed'
    this.remoteWriteStatus = 'closed'
    this.dispatchEvent(new StreamCloseEvent(status === 'aborted', error))
  }
}
