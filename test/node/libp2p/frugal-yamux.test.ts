import type { Logger } from '@libp2p/interface'
import { StreamState, YamuxStream } from '@libp2p/yamux/stream'
import { Uint8ArrayList } from 'uint8arraylist'
import { describe, expect, test } from 'vitest'
import { frugalYamux } from '../../../src/node/libp2p/frugal-yamux.ts'

const WINDOW_BYTES = 1_000
const DATA = 0
const WINDOW_UPDATE = 1

/** A stream of the muxer, and the frames that it sends. */
function streamIn(state: StreamState): { stream: YamuxStream; sent: { type: number; length: number }[] } {
  expect(frugalYamux({})().protocol).toBe('/yamux/1.0.0')
  const sent: { type: number; length: number }[] = []
  const silent = Object.assign(() => {}, { error() {}, trace() {}, enabled: false, newScope: () => silent })
  const stream = new YamuxStream({
    id: '2',
    streamId: 2,
    direction: 'outbound',
    state,
    initialStreamWindowSize: WINDOW_BYTES,
    log: silent as Logger,
    getRTT: () => -1,
    sendFrame: ({ type, length }) => sent.push({ type, length }) > 0,
  })
  return { stream, sent }
}

function receive(stream: YamuxStream, bytes: number): void {
  const header = { type: DATA, flag: 0, streamID: 2, length: bytes }
  stream.handleData({ header, data: new Uint8ArrayList(new Uint8Array(bytes)) })
}

describe('a stream', () => {
  test('tells of room once half of its window is used', () => {
    const { stream, sent } = streamIn(StreamState.Established)
    for (let message = 0; message < 4; message += 1) receive(stream, 100)
    expect(sent).toEqual([])
    receive(stream, 100)
    expect(sent).toEqual([{ type: WINDOW_UPDATE, length: 500 }])
  })

  test('is opened by such a frame at once', () => {
    const { stream, sent } = streamIn(StreamState.Init)
    stream.sendWindowUpdate()
    expect(sent).toEqual([{ type: WINDOW_UPDATE, length: 0 }])
  })
})
