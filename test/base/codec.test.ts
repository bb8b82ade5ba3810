import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { withDeadline } from '../../src/base/waiting/deadline.ts'
import { FRAME_BYTES_MAX } from '../../src/base/limits.ts'
import { decodeMessage, encodeMessage, readLengthPrefix } from '../../src/base/stream/message-codec.ts'
import { ReadQueue } from '../../src/base/stream/read-queue.ts'
import { seededRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'

describe('a message', () => {
  test('comes back as it was sent', () => {
    const schema = z.strictObject({ n: z.int(), text: z.string() })
    fc.assert(
      fc.property(fc.record({ n: fc.integer(), text: fc.string() }), (message) => {
        const frame = encodeMessage(message)
        const prefix = readLengthPrefix(frame)!
        expect(prefix.length).toBe(frame.byteLength - prefix.prefixBytes)
        expect(decodeMessage(frame.subarray(prefix.prefixBytes), schema, 'test')).toEqual(message)
      }),
    )
  })

  test('over the limit is neither sent nor taken', () => {
    expect(() => encodeMessage({ bytes: new Uint8Array(FRAME_BYTES_MAX) })).toThrow(/over the limit/)
    expect(() => readLengthPrefix(Uint8Array.of(0xff, 0xff, 0xff, 0x7f))).toThrow(/over the limit/)
    expect(() => readLengthPrefix(Uint8Array.of(0xff, 0xff, 0xff, 0xff))).toThrow(/over the limit/)
  })

  test('whose length is not whole yet is waited for', () => {
    expect(readLengthPrefix(new Uint8Array(0))).toBeUndefined()
    expect(readLengthPrefix(Uint8Array.of(0x80))).toBeUndefined()
  })

  test('with a field that its protocol does not have is refused', () => {
    const frame = encodeMessage({ a: 1, b: 2 })
    expect(() => decodeMessage(frame.subarray(1), z.strictObject({ a: z.int() }), 'peer x')).toThrow(/peer x/)
  })
})

describe('a read queue', () => {
  test('gives the bytes in order, however they came and are taken', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 })), fc.array(fc.nat(80)), (parts, takes) => {
        const queue = new ReadQueue()
        for (const part of parts) queue.push(part)
        const whole = Buffer.concat(parts)
        let at = 0
        for (const take of takes) {
          const length = Math.min(take, queue.byteLength)
          expect(Buffer.from(queue.peek(length))).toEqual(whole.subarray(at, at + length))
          expect(Buffer.from(queue.take(length))).toEqual(whole.subarray(at, at + length))
          at += length
        }
        expect(queue.byteLength).toBe(whole.byteLength - at)
      }),
    )
  })

  test('does not give more than it has', () => {
    expect(() => new ReadQueue().take(1)).toThrow(RangeError)
  })
})

describe('a deadline', () => {
  test('says whose it was, also when the work does not heed its signal', async () => {
    const forever = withDeadline(
      { clock: systemClock, ms: 10, whose: 'the answer of peer x' },
      () => new Promise(() => {}),
    )
    await expect(forever).rejects.toMatchObject({
      code: 'deadline-passed',
      message: 'no answer within 10 ms: the answer of peer x',
    })
  })

  test('gives way to the outer signal, with its reason', async () => {
    const outer = new AbortController()
    const work = withDeadline(
      { clock: systemClock, ms: 60_000, whose: 'it', signal: outer.signal },
      () => new Promise(() => {}),
    )
    outer.abort(new Error('stopped'))
    await expect(work).rejects.toThrow('stopped')
  })
})

describe('seeded chance', () => {
  test('is the same for one seed, spread over [0, 1), and another for another', () => {
    const draw = (seed: number): number[] => {
      const random = seededRandom(seed)
      return Array.from({ length: 1000 }, () => random.next())
    }
    expect(draw(1)).toEqual(draw(1))
    expect(draw(1)).not.toEqual(draw(2))
    const mean = draw(3).reduce((sum, value) => sum + value, 0) / 1000
    expect(mean).toBeGreaterThan(0.45)
    expect(mean).toBeLessThan(0.55)
  })
})
