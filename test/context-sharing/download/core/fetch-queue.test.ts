import { describe, expect, test } from 'vitest'
import { seededRandom, randomInteger } from '../../../../src/base/random.ts'
import { FetchQueue, type WantedFetch } from '../../../../src/context-sharing/download/core/fetch-queue.ts'

function begun(queue: FetchQueue<string>): string[] {
  const keys: string[] = []
  for (let next = queue.next(); next !== undefined; next = queue.next()) keys.push(next.key)
  return keys
}

describe('the fetch queue', () => {
  test('begins few at a time, the first that was asked for first', () => {
    const queue = new FetchQueue<string>(2)
    const [a] = ['a', 'b', 'c', 'd'].map((key) => queue.want(key, 'normal'))
    expect(begun(queue)).toEqual(['a', 'b'])
    queue.end(a!)
    expect(begun(queue)).toEqual(['c'])
  })

  test('has one fetch a context, with the priority of the waiter to whom it matters most', () => {
    const queue = new FetchQueue<string>(2)
    const wanted = queue.want('a', 'background')
    expect(queue.want('a', 'urgent')).toBe(wanted)
    expect(queue.want('a', 'normal')).toBe(wanted)
    expect(wanted).toMatchObject({ priority: 'urgent', waiters: 3 })
    expect(begun(queue)).toEqual(['a'])
  })

  test('says when the last waiter has left, and begins no fetch that ended while it waited', () => {
    const queue = new FetchQueue<string>(1)
    const a = queue.want('a', 'normal')
    const b = queue.want('b', 'normal')
    queue.want('b', 'normal')
    queue.want('c', 'normal')
    expect(begun(queue)).toEqual(['a'])
    expect(queue.leave(b)).toBe(false)
    expect(queue.leave(b)).toBe(true)
    queue.end(b)
    queue.end(a)
    expect(begun(queue)).toEqual(['c'])
  })

  test('keeps the place of a fetch that is put back', () => {
    const queue = new FetchQueue<string>(1)
    const a = queue.want('a', 'normal')
    queue.want('b', 'normal')
    begun(queue)
    queue.putBack(a)
    expect(begun(queue)).toEqual(['a'])
  })

  test('throws for what cannot be', () => {
    const queue = new FetchQueue<string>(1)
    const a = queue.want('a', 'normal')
    expect(() => queue.putBack(a)).toThrow('a fetch that is waiting was put back')
    queue.leave(a)
    expect(() => queue.leave(a)).toThrow('a waiter left twice')
    queue.end(a)
    expect(() => queue.end(a)).toThrow('a fetch ended twice')
  })

  test.each([1, 2, 3])('never runs too many, and begins each that stays wanted (seed %i)', (seed) => {
    const random = seededRandom(seed)
    const queue = new FetchQueue<number>(2)
    const open: WantedFetch<number>[] = []
    const running = new Set<WantedFetch<number>>()
    for (let key = 0; key < 300; key += 1) {
      open.push(queue.want(key, 'normal'))
      for (let next = queue.next(); next !== undefined; next = queue.next()) running.add(next)
      expect(running.size).toBeLessThanOrEqual(2)
      if (randomInteger(random, 2) === 0) {
        const [ended] = open.splice(randomInteger(random, open.length), 1)
        queue.end(ended!)
        running.delete(ended!)
      }
    }
    const order: number[] = []
    while (open.length > 0) {
      for (let next = queue.next(); next !== undefined; next = queue.next()) order.push(next.key)
      const ended = open.find(({ phase }) => phase === 'running')
      queue.end(ended!)
      open.splice(open.indexOf(ended!), 1)
    }
    expect(order).toEqual(order.toSorted((left, right) => left - right))
  })
})
