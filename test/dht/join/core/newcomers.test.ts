import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../../src/base/random.ts'
import { NewcomersBook } from '../../../../src/dht/join/core/newcomers.ts'
import type { PeerAddresses } from '../../../../src/dht/members.ts'
import { NEWCOMERS_TIMINGS } from '../../../../src/dht/timings.ts'

const { addressesTried, avoidMs, dialsAtOnce, failuresMax, membersWanted } = NEWCOMERS_TIMINGS
const random = seededRandom(1)
const peers = (count: number): string[] => Array.from({ length: count }, (_, number) => `peer-${number}`)
const at = (peer: string, ...addresses: string[]): PeerAddresses => ({
  peer,
  addresses: addresses.length > 0 ? addresses : [`address of ${peer}`],
})
const introduced = (count: number): PeerAddresses[] => peers(count).map((peer) => at(peer))

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

  test('lead to dials of strangers alone, few at a time, each once', () => {
    const book = new NewcomersBook(NEWCOMERS_TIMINGS)
    const first = book.dial('member', introduced(20), ['peer-0', 'peer-2'], 0)
    expect(first).toEqual(
      introduced(20)
        .filter(({ peer }) => peer !== 'peer-0' && peer !== 'peer-2')
        .slice(0, dialsAtOnce),
    )
    expect(book.dial('member', introduced(20), [], 0)).toEqual([])
    book.met(first[0]!.peer)
    expect(book.dial('member', introduced(20), [first[0]!.peer], 0)).toHaveLength(1)
  })

  test('leave a peer alone for a while that could not be dialled, unless it was met since', () => {
    const book = new NewcomersBook(NEWCOMERS_TIMINGS)
    book.dial('member', [at('a')], [], 0)
    book.failed('a', 100)
    expect(book.dial('member', [at('a')], [], 100 + avoidMs - 1)).toEqual([])
    expect(book.dial('member', [at('a')], [], 100 + avoidMs)).toEqual([at('a')])
    book.met('a')
    expect(book.dial('member', [at('a')], [], 0)).toEqual([])
    expect(book.dial('member', [at('a', 'elsewhere')], [], 0)).toHaveLength(1)
  })

  test('lead to an address once, whoever is said to be there, and to few addresses of one peer', () => {
    const book = new NewcomersBook(NEWCOMERS_TIMINGS)
    book.dial('liar', [at('a', 'target')], [], 0)
    book.failed('a', 0)
    expect(book.dial('liar', [at('b', 'target'), at('c', 'target', 'other')], [], 1)).toEqual([
      at('c', 'other'),
    ])
    const many = Array.from({ length: 16 }, (_none, index) => `address-${index}`)
    expect(book.dial('member', [at('d', ...many)], [], 1)).toEqual([
      at('d', ...many.slice(0, addressesTried)),
    ])
  })

  test('of a member whose introductions lead nowhere are not used for a while', () => {
    const book = new NewcomersBook(NEWCOMERS_TIMINGS)
    let dials = 0
    for (let nowMs = 0; nowMs < 10 * 60_000; nowMs += 500)
      for (const { peer } of book.dial('liar', [at(`new-${nowMs}`)], [], nowMs)) {
        dials += 1
        book.failed(peer, nowMs)
      }
    expect(dials).toBeLessThanOrEqual(failuresMax * (1 + (10 * 60_000) / (failuresMax * avoidMs)))
    expect(book.dial('honest', [at('a')], [], 10 * 60_000)).toHaveLength(1)
  })

  test('remember a bounded number of failures, the latest', () => {
    const book = new NewcomersBook({ ...NEWCOMERS_TIMINGS, avoidedMax: 4 })
    for (const peer of ['a', 'b', 'c']) {
      book.dial('member', [at(peer)], [], 0)
      book.failed(peer, 0)
    }
    expect(
      book.dial(
        'member',
        ['a', 'b', 'c'].map((peer) => at(peer)),
        [],
        0,
      ),
    ).toEqual([at('a')])
  })

  test('throw for what cannot be', () => {
    const book = new NewcomersBook(NEWCOMERS_TIMINGS)
    expect(() => book.answered()).toThrow('no member was asked')
    expect(() => book.met('a')).toThrow('had not begun')
  })
})
