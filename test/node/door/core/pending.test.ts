import { describe, expect, test } from 'vitest'
import { PendingConnections } from '../../../../src/node/door/core/pending.ts'

describe('connections that have not said who they are', () => {
  test('all have a place until it is full; then the oldest of the busiest address goes', () => {
    const pending = new PendingConnections<string>({ max: 4 })
    for (const name of ['a1', 'b1', 'b2', 'c1']) expect(pending.enter(name, name[0]!)).toBeUndefined()
    expect(pending.enter('d1', 'd')).toBe('b1')
    expect(pending.size).toBe(4)
    // Each address has one now: the oldest of all goes.
    expect(pending.enter('e1', 'e')).toBe('a1')
    expect(pending.has('a1')).toBe(false)
  })

  test('that have said it leave their place', () => {
    const pending = new PendingConnections<string>({ max: 2 })
    pending.enter('a', 'host')
    pending.enter('b', 'host')
    pending.leave('a')
    expect(pending.enter('c', 'host')).toBeUndefined()
    expect(pending.enter('d', 'host')).toBe('b')
  })

  test('of one address never cost another its place', () => {
    const pending = new PendingConnections<string>({ max: 64 })
    pending.enter('honest', '192.0.2.1')
    for (let index = 0; index < 1_000; index += 1)
      expect(pending.enter(`silent${index}`, '192.0.2.9')).not.toBe('honest')
    expect(pending.has('honest')).toBe(true)
  })
})
