import { describe, expect, test } from 'vitest'
import { withDeadline } from '../../../src/base/waiting/deadline.ts'
import { unlessAborted } from '../../../src/base/waiting/unless-aborted.ts'

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A clock whose deadline passes when the test says so. */
function handClock() {
  let run: (() => void) | undefined
  const clock = {
    nowMs: () => 0,
    wallMs: () => 0,
    schedule: (_delayMs: number, due: () => void) => {
      run = due
      return () => (run = undefined)
    },
  }
  return { clock, pass: () => run?.() }
}

describe('an abandoned wait', () => {
  test('with a deadline releases what arrives after it', async () => {
    const { clock, pass } = handClock()
    const opening = Promise.withResolvers<string>()
    const released: string[] = []
    const wait = withDeadline(
      { clock, ms: 50, whose: 'a stream' },
      () => opening.promise,
      (late) => {
        released.push(late)
      },
    )
    pass()
    await expect(wait).rejects.toMatchObject({ code: 'deadline-passed' })
    expect(released).toEqual([])
    opening.resolve('stream')
    await settle()
    expect(released).toEqual(['stream'])
  })

  test('with an outer signal releases what arrives after the abort', async () => {
    const { clock } = handClock()
    const opening = Promise.withResolvers<string>()
    const outer = new AbortController()
    const released: string[] = []
    const wait = withDeadline(
      { clock, ms: 50, whose: 'a stream', signal: outer.signal },
      () => opening.promise,
      (late) => released.push(late),
    )
    outer.abort(new Error('stopped'))
    await expect(wait).rejects.toThrow('stopped')
    opening.resolve('stream')
    await settle()
    expect(released).toEqual(['stream'])
  })

  test('releases what arrived together with the abort', async () => {
    const signal = AbortSignal.abort(new Error('stopped'))
    const released: string[] = []
    const wait = unlessAborted(Promise.resolve('stream'), signal, (late) => released.push(late))
    await expect(wait).rejects.toThrow('stopped')
    await settle()
    expect(released).toEqual(['stream'])
  })

  test('does not care how its work fails later', async () => {
    const outer = new AbortController()
    const work = Promise.withResolvers<string>()
    const wait = unlessAborted(work.promise, outer.signal, () => expect.unreachable())
    outer.abort(new Error('stopped'))
    work.reject(new Error('too late'))
    await expect(wait).rejects.toThrow('stopped')
    await settle()
  })
})

test('a wait that got its value releases nothing, and leaves no listener', async () => {
  const { clock, pass } = handClock()
  const outer = new AbortController()
  const released: string[] = []
  const deadline = { clock, ms: 50, whose: 'a stream', signal: outer.signal }
  await expect(
    withDeadline(
      deadline,
      async () => 'stream',
      (late) => released.push(late),
    ),
  ).resolves.toBe('stream')
  pass()
  outer.abort(new Error('stopped'))
  await settle()
  expect(released).toEqual([])
})
