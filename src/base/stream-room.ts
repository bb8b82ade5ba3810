import type { ByteStream } from './byte-stream.ts'
import { HearthError } from './errors.ts'
import { STREAM_UNSENT_BYTES_HIGH } from './limits.ts'

/** Whether nothing can be sent or received any more. */
export function isOver(stream: ByteStream): boolean {
  return stream.status === 'closed' || stream.status === 'aborted' || stream.status === 'reset'
}

/** Whether another write would go out soon instead of piling up. */
export function hasRoom(stream: ByteStream, unsentBytesHigh: number = STREAM_UNSENT_BYTES_HIGH): boolean {
  return !stream.writableNeedsDrain && stream.writeBufferLength <= unsentBytesHigh
}

/**
 * Resolves when `stream` has room: at most `unsentBytesHigh` bytes wait in it. One `drain` event is not room: libp2p dispatches it for every window
 * update, however small, so a writer that goes on at each would queue a whole write for every few bytes
 * that leave. And `onDrain()` is no wait at all after its first time.
 * Throws `stream-closed` when the stream ends first, or the signal's reason.
 */
export function untilRoom(stream: ByteStream, signal: AbortSignal, unsentBytesHigh?: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void): void => {
      stream.removeEventListener('drain', look)
      stream.removeEventListener('idle', look)
      stream.removeEventListener('close', onClose)
      signal.removeEventListener('abort', onAbort)
      finish()
    }
    // libp2p sends what is queued in a microtask after `drain`; this one comes after that.
    const look = (): void => {
      queueMicrotask(() => {
        if (hasRoom(stream, unsentBytesHigh)) settle(resolve)
      })
    }
    const onClose = (): void =>
      settle(() => reject(new HearthError('stream-closed', 'the stream ended while sending')))
    const onAbort = (): void => settle(() => reject(signal.reason as Error))
    stream.addEventListener('drain', look)
    stream.addEventListener('idle', look)
    stream.addEventListener('close', onClose)
    signal.addEventListener('abort', onAbort, { once: true })
    if (isOver(stream)) onClose()
    else if (signal.aborted) onAbort()
    else look()
  })
}
