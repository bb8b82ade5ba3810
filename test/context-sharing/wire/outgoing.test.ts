import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { MessageStream } from '../../../src/base/stream/message-stream.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import type { ChunkRange } from '../../../src/context-sharing/content/bitfield.ts'
import { Outgoing } from '../../../src/context-sharing/wire/outgoing.ts'

let said: { type: string; ranges: ChunkRange[] }[] = []
let outgoing: Outgoing
const stream = {
  send: (message: { type: string; ranges: ChunkRange[] }) => {
    said.push(message)
    return Promise.resolve()
  },
} as unknown as MessageStream

beforeEach(() => {
  vi.useFakeTimers()
  said = []
  const components = { clock: systemClock, stream }
  outgoing = new Outgoing(components, { tellEveryMs: { have: 100 } }, new AbortController().signal)
})
afterEach(() => {
  vi.useRealTimers()
})

test('after a pause a chunk is told of at once, and those that come soon after it together', async () => {
  outgoing.tell('have', [7])
  await vi.advanceTimersByTimeAsync(0)
  expect(said).toEqual([{ type: 'have', ranges: [[7, 1]] }])
  for (const chunk of [1, 2, 5]) {
    outgoing.tell('have', [chunk])
    await vi.advanceTimersByTimeAsync(20)
  }
  expect(said).toHaveLength(1)
  await vi.advanceTimersByTimeAsync(40)
  const together = {
    type: 'have',
    ranges: [
      [1, 2],
      [5, 1],
    ],
  }
  expect(said.slice(1)).toEqual([together])
  await vi.advanceTimersByTimeAsync(100)
  outgoing.tell('have', [9])
  await vi.advanceTimersByTimeAsync(0)
  expect(said).toHaveLength(3)
})

test('gathered messages are sent before our end of the stream, and none after it', async () => {
  outgoing.tell('have', [1])
  await vi.advanceTimersByTimeAsync(0)
  outgoing.tell('have', [2])
  outgoing.flush()
  await vi.advanceTimersByTimeAsync(0)
  expect(said).toHaveLength(2)
  outgoing.tell('have', [3])
  outgoing.end()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(said).toHaveLength(2)
  expect(vi.getTimerCount()).toBe(0)
})
