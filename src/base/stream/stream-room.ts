import type { ByteStream } from './byte-stream.ts'
import { STREAM_UNSENT_BYTES_HIGH } from '../limits.ts'

/** Whether nothing can be sent or received any more. */
export function isOver(stream: ByteStream): boolean {
  return stream.status === 'closed' || stream.status === 'aborted' || stream.status === 'reset'
}

/** Whether another write would go out soon instead of piling up. */
export function hasRoom(stream: ByteStream, unsentBytesHigh: number = STREAM_UNSENT_BYTES_HIGH): boolean {
  return !stream.writableNeedsDrain && stream.writeBufferLength <= unsentBytesHigh
}
