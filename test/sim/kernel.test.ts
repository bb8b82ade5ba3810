import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Kernel } from '../../sim/kernel/kernel.ts'
import { RandomStreams } from '../../sim/kernel/random-streams.ts'

describe('the kernel', () => {
  test('runs events in order of time, those of one time in the order they were scheduled', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 300 }), (times) => {
        const kernel = new Kernel()
        const ran: [number, number][] = []
        for (const [index, timeUs] of times.entries()) {
          kernel.at(timeUs, 0, () => ran.push([kernel.nowUs, index]))
        }
        kernel.run(100)
        const expected = times
          .map((timeUs, index): [number, number] => [timeUs, index])
          .sort((a, b) => a[0] - b[0] || a[1] - b[1])
        expect(ran).toEqual(expected)
      }),
    )
  })

  test('does not run what was cancelled, and an old handle cancels nothing new', () => {
    const kernel = new Kernel()
    const ran: string[] = []
    const first = kernel.at(1, 0, () => ran.push('first'))
    const cancelled = kernel.at(2, 0, () => ran.push('cancelled'))
    kernel.cancel(cancelled)
    kernel.run(5)
    kernel.at(6, 0, () => ran.push('second'))
    kernel.at(6, 0, () => ran.push('third'))
    kernel.cancel(first)
    kernel.cancel(cancelled)
    kernel.run(10)
    expect(ran).toEqual(['first', 'second', 'third'])
  })

  test('stops at the time given and goes on from there', () => {
    const kernel = new Kernel()
    const ran: number[] = []
    const again = (): void => {
      ran.push(kernel.nowUs)
      kernel.after(10, 0, again)
    }
    kernel.at(0, 0, again)
    kernel.run(25)
    expect([ran, kernel.nowUs]).toEqual([[0, 10, 20], 25])
    kernel.run(30)
    expect(ran).toEqual([0, 10, 20, 30])
  })

  test('has one hash for one order of events, and another for another', () => {
    const hashOf = (times: number[], tag: number): string => {
      const kernel = new Kernel()
      for (const timeUs of times) kernel.at(timeUs, tag, () => {})
      kernel.run(1e9)
      return kernel.hash
    }
    expect(hashOf([1, 2, 3], 7)).toBe(hashOf([3, 2, 1], 7))
    expect(hashOf([1, 2, 3], 7)).not.toBe(hashOf([1, 2, 4], 7))
    expect(hashOf([1, 2, 3], 7)).not.toBe(hashOf([1, 2, 3], 8))
  })
})

describe('streams of chance', () => {
  const draw = (random: { next(): number }, count: number): number[] =>
    Array.from({ length: count }, () => random.next())

  test('are the same for the same seed, entity, purpose and index, and differ with any of them', () => {
    const streams = new RandomStreams(1)
    const same = draw(streams.of(3, 'up'), 4)
    expect(draw(new RandomStreams(1).of(3, 'up'), 4)).toEqual(same)
    for (const other of [
      new RandomStreams(2).of(3, 'up'),
      streams.of(4, 'up'),
      streams.of(3, 'down'),
      streams.of(3, 'up', 1),
    ]) {
      expect(draw(other, 4)).not.toEqual(same)
    }
  })

  test('are uniform and show no correlation, within a stream and between neighbours', () => {
    const count = 20_000
    const within = draw(new RandomStreams(9).of(1, 'x'), count)
    const across = Array.from({ length: count }, (_, entity) => new RandomStreams(9).of(entity, 'x').next())
    for (const values of [within, across]) {
      const mean = values.reduce((sum, value) => sum + value, 0) / count
      const lag = values
        .slice(1)
        .reduce((sum, value, index) => sum + (value - 0.5) * (values[index]! - 0.5), 0)
      // Standard errors: 1/√(12 n) of the mean, 1/12·√n of the lagged sum; five of each.
      expect(Math.abs(mean - 0.5)).toBeLessThan(5 / Math.sqrt(12 * count))
      expect(Math.abs(lag)).toBeLessThan((5 * Math.sqrt(count)) / 12)
    }
  })
})
