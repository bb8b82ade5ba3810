// One case for each way in which a stream of libp2p 3 loses data or grows without bound when it is
// used as documented: docs/decisions/0003-one-stream-adapter.md. Real streams, over real connections.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Stream } from '@libp2p/interface'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { isHearthError } from '../../../src/base/errors.ts'
import {
  BULK_SLICE_BYTES,
  FRAME_BYTES_MAX,
  STREAM_UNREAD_BYTES_HIGH,
  STREAM_UNSENT_BYTES_HIGH,
  STREAM_UNSENT_BYTES_MAX,
  STREAM_WINDOW_BYTES_MAX,
} from '../../../src/base/limits.ts'
import { encodeMessage } from '../../../src/base/stream/message-codec.ts'
import { MessageStream } from '../../../src/base/stream/message-stream.ts'
import { randomInteger, seededRandom } from '../../../src/base/random.ts'
import { nextTurn } from '../../../src/base/event-loop.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { until } from '../../../testing/libp2p-swarm.ts'
import { StreamPairs } from '../../../testing/stream-pair.ts'
import type { StreamPair } from '../../../testing/stream-pair.ts'

const WAIT = { deadlineMs: 15_000 }
const SOON = { deadlineMs: 60 }
const MIB = 1024 * 1024
const NoteSchema = z.strictObject({ note: z.string() })

let pairs: StreamPairs
let pair: StreamPair
beforeAll(async () => {
  pairs = await StreamPairs.start()
})
afterAll(async () => {
  await pairs.stop()
})
beforeEach(async () => {
  pair = await pairs.open()
})
afterEach(() => {
  pair.near.abort(new Error('the test is over'))
  pair.far.abort(new Error('the test is over'))
})

/** Bytes that differ from place to place, so that a lost or moved slice changes the hash. */
function pattern(length: number, seed: number): Uint8Array {
  const random = seededRandom(seed)
  const words = new Uint32Array(length / 4).map(() => randomInteger(random, 2 ** 32))
  return new Uint8Array(words.buffer)
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    return isHearthError(error) ? error.code : `not ours: ${String(error)}`
  }
  return 'nothing was thrown'
}

describe('a sender is held back', () => {
  test('at every drain event, not only at the first: onDrain() works once per stream', async () => {
    let queuedMax = 0
    let written = 0
    const writing = (async () => {
      for (; written < 200; written += 1) {
        await pair.near.sendBytes(new Uint8Array(BULK_SLICE_BYTES), WAIT)
        queuedMax = Math.max(queuedMax, pair.raw.near.writeBufferLength)
      }
    })()
    writing.catch(() => {})
    await untilStill(() => written)
    const stuckAt = written
    // What yamux dispatches for every window update, however small. A writer that goes on at each of
    // them queues 25 MiB here, and is reset at STREAM_UNSENT_BYTES_MAX.
    for (let drains = 0; drains < 100; drains += 1) {
      pair.raw.near.dispatchEvent(new Event('drain'))
      await Promise.resolve()
    }
    await untilStill(() => written)
    expect(written).toBe(stuckAt)
    expect(pair.raw.near.writeBufferLength).toBeLessThanOrEqual(STREAM_UNSENT_BYTES_HIGH + BULK_SLICE_BYTES)
    await pair.far.receiveBytes(200 * BULK_SLICE_BYTES, WAIT)
    await writing
    expect(queuedMax).toBeLessThanOrEqual(STREAM_UNSENT_BYTES_HIGH + BULK_SLICE_BYTES)
  })

  test('when many send at once: they wait for each other, and their messages keep their order', async () => {
    const notes = Array.from({ length: 300 }, (_, index) => ({ note: `${index}`.padEnd(100_000, '.') }))
    let queuedMax = 0
    const sent = Promise.all(notes.map((note) => pair.near.send(note, WAIT)))
    for (const { note } of notes) {
      queuedMax = Math.max(queuedMax, pair.raw.near.writeBufferLength)
      expect(await pair.far.receive(NoteSchema, WAIT)).toEqual({ note })
    }
    await sent
    expect(queuedMax).toBeLessThanOrEqual(STREAM_UNSENT_BYTES_HIGH + 100_020)
  })

  test('when its reader takes nothing: the iterator of a stream has no back-pressure', async () => {
    let sentBytes = 0
    const sending = (async () => {
      for (let slice = 0; slice < 128; slice += 1) {
        await pair.near.sendBytes(new Uint8Array(BULK_SLICE_BYTES), WAIT)
        sentBytes += BULK_SLICE_BYTES
      }
    })()
    sending.catch(() => {})
    await untilStill(() => sentBytes)
    // The reader's queue, its window, and one write that waits for room.
    expect(sentBytes).toBeLessThanOrEqual(STREAM_UNREAD_BYTES_HIGH + STREAM_WINDOW_BYTES_MAX + MIB)
    expect(pair.raw.far.readStatus).toBe('paused')
    // pause() resets a stream whose window is above its read buffer: here it lives, and goes on.
    await pair.far.receiveBytes(128 * BULK_SLICE_BYTES, WAIT)
    await sending
  })

  test('without holding up another stream of the same connection', async () => {
    const sending = pair.near.sendBytes(new Uint8Array(16 * MIB), WAIT)
    sending.catch(() => {})
    await until('the reader has paused', () => pair.raw.far.readStatus === 'paused')
    const other = await pairs.open()
    await other.near.send({ note: 'hello' }, WAIT)
    expect(await other.far.receive(NoteSchema, WAIT)).toEqual({ note: 'hello' })
    other.near.abort(new Error('done'))
  })
})

test('messages sent together come one by one, in few writes', async () => {
  const writes: number[] = []
  const { near: raw } = pair.raw
  const send = raw.send.bind(raw)
  raw.send = (data) => {
    writes.push(data.byteLength)
    return send(data)
  }
  const notes = ['a', 'b'.repeat(FRAME_BYTES_MAX / 2), 'c', 'd'].map((note) => ({ note }))
  await pair.near.sendTogether(notes, WAIT)
  for (const note of notes) expect(await pair.far.receive(NoteSchema, WAIT)).toEqual(note)
  expect(writes).toHaveLength(3)
})

test('bulk bytes are sent a slice in a turn of the event loop, so that whatever else waits is served', async () => {
  let turns = 0
  const sending = { isOver: false }
  const count = async (): Promise<void> => {
    for (; !sending.isOver; turns += 1) await nextTurn()
  }
  const counting = count()
  const receiving = pair.far.receiveBytes(16 * BULK_SLICE_BYTES, WAIT)
  await pair.near.sendBytes(new Uint8Array(16 * BULK_SLICE_BYTES), WAIT)
  sending.isOver = true
  await Promise.all([counting, receiving])
  expect(turns).toBeGreaterThanOrEqual(15)
})

describe('a slow reader', () => {
  test('that pauses again and again never has more unread than its bound: a pause inside resume() is undone', async () => {
    let heldMax = 0
    pair.raw.far.addEventListener('message', () => {
      heldMax = Math.max(heldMax, pair.raw.far.readBufferLength)
    })
    const total = 48 * MIB
    const sending = sendPattern(pair.near, total, 7)
    sending.catch(() => {})
    const hash = createHash('sha256')
    for (let at = 0; at < total; at += 64 * 1024) {
      // It takes nothing for a while, until the stream has had to be paused.
      if (at % (8 * MIB) === 0) await until('a pause', () => pair.raw.far.readStatus === 'paused')
      heldMax = Math.max(heldMax, pair.raw.far.readBufferLength)
      hash.update(await pair.far.receiveBytes(64 * 1024, WAIT))
    }
    expect(hash.digest('hex')).toBe(await sending)
    expect(heldMax).toBeLessThanOrEqual(STREAM_WINDOW_BYTES_MAX)
  })

  test('of small messages gets each once and in order', async () => {
    const count = 20_000
    const sending = (async () => {
      for (let index = 0; index < count; index += 1) await pair.near.send({ note: `${index}` }, WAIT)
      await pair.near.close(WAIT)
    })()
    for (let index = 0; index < count; index += 1) {
      expect((await pair.far.receive(NoteSchema, WAIT))?.note).toBe(`${index}`)
    }
    expect(await pair.far.receive(NoteSchema, WAIT)).toBeUndefined()
    await sending
  })
})

test('64 MiB both ways at once arrive as they were sent', async () => {
  const total = 32 * MIB
  const [sentNear, sentFar, gotFar, gotNear] = await Promise.all([
    sendPattern(pair.near, total, 1),
    sendPattern(pair.far, total, 2),
    hashReceived(pair.far, total),
    hashReceived(pair.near, total),
  ])
  expect(gotFar).toBe(sentNear)
  expect(gotNear).toBe(sentFar)
})

describe('an end of stream proves nothing', () => {
  test.each(['message', 'bytes'])(
    'a sender killed inside %s is stream-closed to its reader, though libp2p reports a clean end',
    async (kind) => {
      const { reader, child, ending } = await readFromDyingSender(kind)
      const reading =
        kind === 'message' ? reader.receive(NoteSchema, WAIT) : reader.receiveBytes(1024 * MIB, WAIT)
      const code = codeOf(reading)
      child.kill('SIGKILL')
      expect(await code).toBe('stream-closed')
      expect((await ending)?.message).toBeUndefined()
    },
  )

  test('between messages it is no message, and the other side may still send', async () => {
    await pair.near.close(WAIT)
    expect(await pair.far.receive(NoteSchema, WAIT)).toBeUndefined()
    await pair.far.send({ note: 'late' }, WAIT)
    expect(await pair.near.receive(NoteSchema, WAIT)).toEqual({ note: 'late' })
  })

  test('inside a message or bytes it is stream-closed', async () => {
    pair.raw.near.send(encodeMessage({ note: 'x'.repeat(100) }).subarray(0, 50))
    await pair.near.close(WAIT)
    expect(await codeOf(pair.far.receive(NoteSchema, WAIT))).toBe('stream-closed')

    const other = await pairs.open()
    await other.near.sendBytes(new Uint8Array(10), WAIT)
    await other.near.close(WAIT)
    expect(await codeOf(other.far.receiveBytes(11, WAIT))).toBe('stream-closed')
  })

  test('messages sent before it are still read, also when the reader had paused', async () => {
    const sent = sendPattern(pair.near, 5 * MIB, 3)
    await until('the reader has paused', () => pair.raw.far.readStatus === 'paused')
    const closed = sent.then(() => pair.near.close(WAIT))
    expect(await hashReceived(pair.far, 5 * MIB)).toBe(await sent)
    await closed
    expect(await pair.far.receive(NoteSchema, WAIT)).toBeUndefined()
  })

  test('a reset is an error even between messages, also to one who comes late', async () => {
    pair.near.abort(new Error('no more'))
    expect(await codeOf(pair.far.receive(NoteSchema, WAIT))).toBe('stream-closed')
    const late = new MessageStream({ clock: systemClock }, pair.raw.far, 'near')
    expect(late.isClosed).toBe(true)
    expect(await codeOf(late.receive(NoteSchema, WAIT))).toBe('stream-closed')
    expect(await codeOf(late.send({ note: 'x' }, WAIT))).toBe('stream-closed')
  })

  test('onClose tells once, and at once when it is over already', async () => {
    const told: (string | undefined)[] = []
    pair.far.onClose((error) => told.push(error?.message))
    pair.far.abort(new Error('enough'))
    pair.far.onClose((error) => told.push(error?.message))
    expect(told).toEqual(['enough', 'enough'])
  })
})

describe('a deadline', () => {
  test('on receiving names the peer and what was awaited, and ends the stream', async () => {
    const waited = pair.far.receive(NoteSchema, SOON)
    await expect(waited).rejects.toThrow(/peer near, the next message/)
    expect(await codeOf(waited)).toBe('deadline-passed')
    expect(pair.far.isClosed).toBe(true)
    expect(await codeOf(pair.near.receive(NoteSchema, WAIT))).toBe('stream-closed')
  })

  test('covers a whole message, however steadily its bytes drip', async () => {
    const frame = encodeMessage({ note: 'x'.repeat(1000) })
    const dripped = (async () => {
      for (const byte of frame) {
        if (pair.raw.near.writeStatus !== 'writable') return
        pair.raw.near.send(Uint8Array.of(byte))
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    })()
    expect(await codeOf(pair.far.receive(NoteSchema, { deadlineMs: 150 }))).toBe('deadline-passed')
    await dripped
  })

  test('on sending to a reader that takes nothing', async () => {
    expect(await codeOf(pair.near.sendBytes(new Uint8Array(32 * MIB), { deadlineMs: 300 }))).toBe(
      'deadline-passed',
    )
    expect(pair.near.isClosed).toBe(true)
  })

  test('is not needed when the caller gives up first: the reason of its signal is thrown', async () => {
    const controller = new AbortController()
    const waited = pair.far.receive(NoteSchema, { ...WAIT, signal: controller.signal })
    controller.abort(new Error('changed my mind'))
    await expect(waited).rejects.toThrow('changed my mind')
    await expect(pair.far.receive(NoteSchema, { ...WAIT, signal: controller.signal })).rejects.toThrow(
      'changed my mind',
    )
  })
})

describe('what a peer sends is refused', () => {
  test('when it announces more than a frame may hold, before a byte of it is kept', async () => {
    pair.raw.near.send(new Uint8Array([0xff, 0xff, 0xff, 0x7f]))
    expect(await codeOf(pair.far.receive(NoteSchema, WAIT))).toBe('frame-too-large')
    expect(pair.far.isClosed).toBe(true)
  })

  test('when it is not dag-cbor, or not of the schema', async () => {
    pair.raw.near.send(new Uint8Array([3, 0xff, 0xff, 0xff]))
    expect(await codeOf(pair.far.receive(NoteSchema, WAIT))).toBe('message-invalid')
    const other = await pairs.open()
    await other.near.send({ note: 'fine', more: 1 }, WAIT)
    expect(await codeOf(other.far.receive(NoteSchema, WAIT))).toBe('message-invalid')
  })

  test('when it is garbage: never anything but an error of ours', async () => {
    const random = seededRandom(20_261_123)
    for (let round = 0; round < 200; round += 1) {
      const garbage = Uint8Array.from({ length: 1 + randomInteger(random, 400) }, () =>
        randomInteger(random, 256),
      )
      const one = await pairs.open()
      one.raw.near.send(garbage)
      await one.near.close(WAIT)
      expect(['frame-too-large', 'message-invalid', 'stream-closed']).toContain(
        await codeOf(one.far.receive(NoteSchema, WAIT)),
      )
    }
  })

  test('a message of ours over the limit is not even begun', async () => {
    expect(await codeOf(pair.near.send({ note: 'x'.repeat(FRAME_BYTES_MAX) }, WAIT))).toBe('frame-too-large')
    await pair.near.send({ note: 'small' }, WAIT)
    expect(await pair.far.receive(NoteSchema, WAIT)).toEqual({ note: 'small' })
  })
})

test('two reads at once are a defect of the caller, and say so', async () => {
  const first = pair.far.receive(NoteSchema, WAIT)
  expect(await codeOf(pair.far.receive(NoteSchema, WAIT))).toBe('internal')
  await pair.near.send({ note: 'for the first' }, WAIT)
  expect(await first).toEqual({ note: 'for the first' })
})

test('libp2p itself gives a stream up that has STREAM_UNSENT_BYTES_MAX unsent', async () => {
  const raw = pair.raw.near
  expect(raw.maxWriteBufferLength).toBe(STREAM_UNSENT_BYTES_MAX)
  for (let slice = 0; slice < 64 && raw.status === 'open'; slice += 1) raw.send(new Uint8Array(MIB))
  expect(raw.status).toBe('aborted')
})

/** Resolves when `value` has not changed for 100 ms. */
async function untilStill(value: () => number): Promise<void> {
  for (let before = -1; before !== value();) {
    before = value()
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function sendPattern(stream: MessageStream, length: number, seed: number): Promise<string> {
  const slice = pattern(MIB, seed)
  const hash = createHash('sha256')
  for (let at = 0; at < length; at += MIB) {
    slice[0] = at / MIB
    const bytes = slice.slice()
    hash.update(bytes)
    await stream.sendBytes(bytes, WAIT)
  }
  return hash.digest('hex')
}

async function hashReceived(stream: MessageStream, length: number): Promise<string> {
  const hash = createHash('sha256')
  // A size that divides nothing, so that reads straddle the slices.
  for (let left = length; left > 0; left -= 99_991)
    hash.update(await stream.receiveBytes(Math.min(left, 99_991), WAIT))
  return hash.digest('hex')
}

async function readFromDyingSender(kind: string): Promise<{
  reader: MessageStream
  child: ReturnType<typeof spawn>
  ending: Promise<Error | undefined>
}> {
  const protocol = `/hearth-test/dying-${kind}/1`
  const accepted = Promise.withResolvers<Stream>()
  await pairs.farStack.node.handle(protocol, (stream) => accepted.resolve(stream))
  const script = new URL('../../../testing/dying-sender.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [script, pairs.farStack.addresses[0] ?? '', protocol, kind], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const raw = await accepted.promise
  const reader = new MessageStream({ clock: systemClock }, raw, 'dying')
  const ending = new Promise<Error | undefined>((resolve) => reader.onClose(resolve))
  if (kind === 'message') await once(child.stdout, 'data')
  else await reader.receiveBytes(4 * MIB, WAIT)
  return { reader, child, ending }
}
