import { describe, expect, test } from 'vitest'
import { PEERS_TOLD_MAX } from '../../../../src/base/limits.ts'
import { seededRandom } from '../../../../src/base/random.ts'
import { introduce, someOthers } from '../../../../src/context-sharing/upload/core/introductions.ts'

const random = seededRandom(1)
const many = Array.from({ length: 40 }, (_, number) => `peer-${number}`)

describe('introductions of fetchers', () => {
  test('tell the newcomer of others, and each of the others of the newcomer', () => {
    expect(introduce(random, 'new', ['a', 'new', 'b'])).toEqual([
      { to: 'new', others: expect.arrayContaining(['a', 'b']) as string[] },
      { to: 'a', others: ['new'] },
      { to: 'b', others: ['new'] },
    ])
  })

  test('name as many as one message may, never the one that is told', () => {
    const [toNewcomer, ...toOthers] = introduce(random, 'peer-7', many)
    expect(toNewcomer?.others).toHaveLength(PEERS_TOLD_MAX)
    expect(toNewcomer?.others).not.toContain('peer-7')
    expect(toOthers.map(({ to }) => to)).toEqual(many.filter((peer) => peer !== 'peer-7'))
  })

  test('spread: all others are named in the long run', () => {
    const named = new Set(Array.from({ length: 100 }, () => someOthers(random, 'peer-0', many)).flat())
    expect(named.size).toBe(many.length - 1)
  })
})
