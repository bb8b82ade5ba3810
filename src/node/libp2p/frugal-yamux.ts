import { yamux, type YamuxMuxerInit } from '@libp2p/yamux'
import { StreamState, YamuxStream } from '@libp2p/yamux/stream'
import type { StreamMuxerFactory } from '@libp2p/interface'
import { requirePatchable } from '../../base/patched.ts'

/** Fields of @libp2p/yamux streams that their types leave out. */
interface Windowed {
  recvWindow: number
  recvWindowCapacity: number
  state: StreamState
  sendWindowUpdate: (this: Windowed) => void
}

const streams = requirePatchable('@libp2p/yamux', YamuxStream.prototype as unknown as Windowed, {
  sendWindowUpdate: 0,
})
const { sendWindowUpdate } = streams

/**
 * Tells the other side of room in the window once half of it is used, as yamux's specification has it, and not
 * for every message that comes: each of ours would be answered by a frame of its own, encrypted, with a
 * system call at both ends.
 */
streams.sendWindowUpdate = function () {
  // Before that the frame opens the stream, or accepts it.
  const isEstablished = this.state === StreamState.Established
  if (isEstablished && 2 * this.recvWindowCapacity > this.recvWindow) return
  sendWindowUpdate.call(this)
}

/** libp2p's yamux, with fewer window updates. */
export function frugalYamux(init: YamuxMuxerInit): () => StreamMuxerFactory {
  return yamux(init)
}
