import type { Stream } from '@libp2p/interface'

/** The part of a carrier that `MessageStream` uses: a stream of libp2p, or a socket made to look like one. */
export type ByteStream = Pick<
  Stream,
  | 'status'
  | 'readStatus'
  | 'writeStatus'
  | 'remoteWriteStatus'
  | 'writableNeedsDrain'
  | 'readBufferLength'
  | 'writeBufferLength'
  | 'maxWriteBufferLength'
  | 'send'
  | 'pause'
  | 'resume'
  | 'close'
  | 'abort'
  | 'addEventListener'
  | 'removeEventListener'
> & {
  /**
   * Whether bytes are lent and not given: what is delivered to `onBytes` is overwritten after it returns, and
   * what was sent may be overwritten once `writeBufferLength` is 0. A libp2p stream keeps both.
   */
  readonly lendsBytes?: boolean
  /**
   * Where a stream that lends bytes delivers them, and says that it may have room for more: calls, which cost less than
   * `message`, `drain` and `idle` events do, of which there would be a hundred for each chunk.
   */
  onBytes?: (bytes: Uint8Array) => void
  onRoom?: () => void
}
