import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../../src/base/random.ts'
import { NewcomersBook } from '../../../../src/dht/join/core/newcomers.ts'
import { NEWCOMERS_TIMINGS } from '../../../../src/dht/timings.ts'

const { avoidMs, dialsAtOnce, membersWanted } = NEWCOMERS_TIMINGS
const random = seededRandom(1)
const peers = (count: number): string[] => Array.from({ length: count }, (_, number) => `peer-${number}`)

describe('introductions of newcomers', () => {
  test('are asked for of one connected member at a time', () => {
    const book = new NewcomersBook(NEWCOMERS_TIMINGS)
    expect(book.ask([], random)).toBeUndefined()
    expect(peers(3)).toContain(book.ask(peers(3), random))
    expect(book.ask(peers(3), random)).toBeUndefined()
    book.answered()
    expect(book.ask(peers(3), random)).toBeDefined()
  })

  test('are not asked for once enough members are connected', () => {
    const book = new NewcomersBook(NEWCOMERS_TIMINGS)
    expect(book.ask(peers(membersWanted), random)).toBeUndefined()
    expect(book.ask(peers(membersWanted - 1), random)).toBeDefined()
  })

  test('lead to dials of strangers alone, few after one answer, each once at a time', () => {
    const book = new NewcomersBook(NEWCOMERS_TIMINGS)
    const first = book.dial(peers(20), ['peer-0', 'peer-2'], 0)
    expect(first).toEqual(
      peers(20)
        .filter((peer) => peer !== 'peer-0' && peer !== 'peer-2')
        .slice(0, dialsAtOnce),
    )
    expect(book.dial(first, [], 0)).toEqual([])
  })

  test('leave a peer alone for a while that could not be dialled, unless it was met since', () => {
    const book = new NewcomersBook(NEWCOMERS_TIMINGS)
    book.dial(['a'], [], 0)
    book.failed('a', 100)
    expect(book.dial(['a'], [], 100 + avoidMs - 1)).toEqual([])
    expect(book.dial(['a'], [], 100 + avoidMs)).toEqual(['a'])
    book.met('a')
    expect(book.dial(['a'], [], 0)).toEqual(['a'])
  })

  test('remember a bounded number of failures', () => {
    const book = new NewcomersBook({ ...NEWCOMERS_TIMINGS, avoidedMax: 2 })
    for (const peer of ['a', 'b', 'c']) {
      book.dial([peer], [], 0)
      book.failed(peer, 0)
    }
    expect(book.dial(['a', 'b', 'c'], [], 0)).toEqual(['a', 'b'])
  })

  test('throw for what cannot be', () => {
    const book = new NewcomersBook(NEWCOMERS_TIMINGS)
    expect(() => book.answered()).toThrow('no member was asked')
    expect(() => book.met('a')).toThrow('had not begun')
  })
})
