import { expect, test } from 'vitest'
import { seededRandom } from '../../../../src/base/random.ts'
import { addressToDial, isSettled, waitBeforeNextRound } from '../../../../src/dht/join/core/join.ts'
import type { JoinView } from '../../../../src/dht/join/core/join.ts'
import { JOIN_OPTIONS } from '../../../../src/dht/join/join.ts'
import { RememberedPeers } from '../../../../src/dht/join/remembered-peers.ts'
import { REMEMBERED_PEERS_MAX } from '../../../../src/base/limits.ts'

const EMPTY: JoinView = {
  tableSize: 0,
  othersKnown: 1,
  undialled: [],
  isAlone: false,
  failures: 0,
  successes: 0,
}

test.each<[string, Partial<JoinView>, boolean]>([
  ['nobody to look for', { isAlone: true, othersKnown: 0 }, true],
  ['one known, none in the table', {}, false],
  ['one known, one in the table', { tableSize: 1 }, true],
  ['nine known, seven in the table', { othersKnown: 9, tableSize: 7 }, false],
  ['a hundred known, eight in the table', { othersKnown: 100, tableSize: 8 }, true],
])('a peer with %s', (_what, change, settled) => {
  expect(isSettled({ ...EMPTY, ...change }, JOIN_OPTIONS)).toBe(settled)
})

test('the address dialled is any of those not connected, so that a stampede spreads', () => {
  const random = seededRandom(1)
  const undialled = ['a', 'b', 'c', 'd']
  const dialled = new Set(Array.from({ length: 100 }, () => addressToDial({ ...EMPTY, undialled }, random)))
  expect(dialled).toEqual(new Set(undialled))
  expect(addressToDial(EMPTY, random)).toBeUndefined()
})

test('waits double up to their bound, with jitter: retries to seconds, rests to a minute, a small table sooner', () => {
  const random = seededRandom(2)
  const longest = (change: Partial<JoinView>): number =>
    Math.max(
      ...Array.from({ length: 200 }, () =>
        waitBeforeNextRound({ ...EMPTY, ...change }, JOIN_OPTIONS, random),
      ),
    )
  const { retryMinMs, retryMaxMs, restMinMs, restMaxMs, smallRestMaxMs } = JOIN_OPTIONS
  const near = (bound: number, value: number): void => {
    expect(value).toBeLessThanOrEqual(bound)
    expect(value).toBeGreaterThan(bound * 0.9)
  }
  near(retryMinMs, longest({}))
  near(retryMinMs * 4, longest({ failures: 2 }))
  near(retryMaxMs, longest({ failures: 1_000 }))
  near(restMinMs * 2, longest({ tableSize: 8, successes: 1 }))
  near(restMaxMs, longest({ tableSize: 8, successes: 1_000 }))
  near(smallRestMaxMs, longest({ tableSize: 1, successes: 1_000 }))
})

test('remembered peers are bounded, the longest unseen forgotten; only those that answered are worth saving', () => {
  let wallMs = 1
  const clock = { nowMs: () => 0, wallMs: () => (wallMs += 1), schedule: () => () => {} }
  const peers = new RememberedPeers({ members: { self: 'me' }, clock }, [
    { peer: 'old', addresses: ['/ip4/127.0.0.1/tcp/1'], lastSeenMs: 1 },
  ])
  expect(peers.learn({ peer: 'me', addresses: ['/ip4/127.0.0.1/tcp/2'] })).toBe(false)
  expect(peers.learn({ peer: 'nowhere', addresses: [] })).toBe(false)
  for (let index = 0; index < REMEMBERED_PEERS_MAX; index += 1) {
    expect(peers.learn({ peer: `p${index}`, addresses: ['/ip4/127.0.0.1/tcp/3'] })).toBe(true)
    peers.seen(`p${index}`)
  }
  expect(peers.list()).toHaveLength(REMEMBERED_PEERS_MAX)
  expect(peers.list()[0]?.peer).toBe(`p${REMEMBERED_PEERS_MAX - 1}`)
  expect(peers.list().some(({ peer }) => peer === 'old')).toBe(false)
})

test('an address is undialled until its peer is connected, also one that names no peer', () => {
  const clock = { nowMs: () => 0, wallMs: () => 5, schedule: () => () => {} }
  const peers = new RememberedPeers({ members: { self: 'me' }, clock }, [])
  const bootstrap = ['/ip4/127.0.0.1/tcp/1/p2p/a', '/ip4/127.0.0.1/tcp/2', '/ip4/127.0.0.1/tcp/3/p2p/me']
  expect(peers.undialled(bootstrap, new Set())).toEqual(bootstrap.slice(0, 2))
  expect(peers.countKnown(bootstrap)).toBe(2)
  peers.answered('/ip4/127.0.0.1/tcp/2', 'b')
  peers.learn({ peer: 'b', addresses: ['/ip4/127.0.0.1/tcp/2'] })
  expect(peers.countKnown(bootstrap)).toBe(2)
  expect(peers.undialled(bootstrap, new Set(['a', 'b']))).toEqual([])
  expect(peers.undialled(bootstrap, new Set(['a']))).toEqual([
    '/ip4/127.0.0.1/tcp/2',
    '/ip4/127.0.0.1/tcp/2/p2p/b',
  ])
})
