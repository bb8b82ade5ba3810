import { expect, test } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import { CHUNK_BYTES } from '../../../src/base/limits.ts'
import { type Passage, UploadGate } from '../../../src/context-sharing/upload/upload-gate.ts'

const MEASURED_FOR_MS = 600_000

/** A clock that the test moves. Timers do not fire: the test says what happens next. */
class StillClock implements Clock {
  atMs = 0

  nowMs(): number {
    return this.atMs
  }

  wallMs(): number {
    return this.atMs
  }

  schedule(): () => void {
    return () => {}
  }
}

const { signal } = new AbortController()

async function send(gate: UploadGate, clock: StillClock): Promise<void> {
  const passage = await gate.pass('peer-a', 'normal', CHUNK_BYTES, signal)
  clock.atMs += 500
  if (passage.isGranted) passage.sent()
}

/** Keeps the uplink busy until the gate knows what it carries, and so has a cap. */
async function measure(gate: UploadGate, clock: StillClock): Promise<void> {
  // A second peer is always being sent something, so that the uplink is never idle.
  await gate.pass('peer-b', 'normal', CHUNK_BYTES, signal)
  while (gate.capBytesPerSecond === undefined) await send(gate, clock)
}

test('chunks that waited under the measured cap are sent when the cap is lifted to measure again', async () => {
  const clock = new StillClock()
  const gate = new UploadGate({ clock }, 'measured')
  await measure(gate, clock)
  clock.atMs += MEASURED_FOR_MS - 1_500
  const passages: Passage[] = []
  const asked = Array.from({ length: 3 }, async () =>
    passages.push(await gate.pass('peer-a', 'normal', CHUNK_BYTES, signal)),
  )
  await Promise.resolve()
  expect(gate.capBytesPerSecond).toBeDefined()
  clock.atMs += 2_000
  gate.charge(1)
  expect(gate.capBytesPerSecond).toBeUndefined()
  await Promise.all(asked)
  expect(passages.map(({ isGranted }) => isGranted)).toEqual([true, true, true])
})
