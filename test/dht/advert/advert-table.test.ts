import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ADVERTS_KEPT_MAX } from '../../../src/base/limits.ts'
import { AdvertTable } from '../../../src/dht/advert/advert-table.ts'
import type { AdvertChange } from '../../../src/dht/advert/advert-table.ts'
import type { Advert, AdvertTier } from '../../../src/dht/advert/advert.ts'
import { testBody } from '../../../testing/libp2p-swarm.ts'

function advert(
  peer: string,
  sequence: number,
  holds: Record<string, AdvertTier> = {},
  ttlMs = 1_000,
): Advert {
  const contexts = Object.entries(holds).map(([contextId, tier]) => ({ contextId, name: contextId, tier }))
  return { ...testBody({ contexts }), version: 1, peer, sequence, issuedAtMs: 0, ttlMs }
}

test('listeners hear of new, changed and lost adverts, not of renewals', () => {
  const table = new AdvertTable()
  const told: AdvertChange[] = []
  const stop = table.onChange((change) => told.push(change))
  expect(table.take(advert('a', 1), 0)).toBe('new')
  expect(table.take(advert('a', 2), 0)).toBe('renewed')
  expect(table.take(advert('a', 3, { c: 'stored' }), 0)).toBe('changed')
  expect(table.take(advert('a', 3, { c: 'warm' }), 0)).toBe('repeated')
  expect(table.take(advert('a', 2), 0)).toBe('older')
  expect(table.holders('c', 0).map(({ peer, tier }) => [peer, tier])).toEqual([['a', 'stored']])
  table.remove('a')
  table.remove('a')
  expect(told.map((change) => [change.advert?.sequence, change.before?.sequence])).toEqual([
    [1, undefined],
    [3, 2],
    [undefined, 3],
  ])
  stop()
  table.take(advert('a', 9), 0)
  expect(told).toHaveLength(3)
})

test('an advert lives its ttl from when it came, whatever its clock says, and a copy does not prolong it', () => {
  const table = new AdvertTable()
  table.take(advert('a', 1), 500)
  table.take(advert('a', 1), 1_400)
  expect(table.get('a', 1_499)?.receivedAtMs).toBe(500)
  expect(table.get('a', 1_500)).toBeUndefined()
  expect(table.known(1_500)).toEqual([])
  expect(table.holders('c', 1_500)).toEqual([])
  table.expire(1_500)
  // A peer whose clock went back is heard again once its old advert has expired.
  expect(table.take(advert('a', 0), 1_500)).toBe('new')
})

test('it keeps a bounded number: the one that was renewed least recently makes room', () => {
  const table = new AdvertTable(3)
  for (const peer of ['a', 'b', 'c']) table.take(advert(peer, 1, { x: 'warm' }), 0)
  table.take(advert('a', 2, { x: 'warm' }), 1)
  table.take(advert('d', 1, { x: 'warm' }), 2)
  expect(table.holders('x', 3).map(({ peer }) => peer)).toEqual(['a', 'c', 'd'])
})

test('it keeps ADVERTS_KEPT_MAX of them, and no more', () => {
  const table = new AdvertTable()
  for (let index = 0; index <= ADVERTS_KEPT_MAX; index += 1) table.take(advert(`peer${index}`, 1), 0)
  expect(table.known(0)).toHaveLength(ADVERTS_KEPT_MAX)
  expect(table.get('peer0', 0)).toBeUndefined()
})

test('holders are always the peers whose valid advert lists the context', () => {
  const step = fc.record({
    peer: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    sequence: fc.nat(6),
    holds: fc.subarray(['x', 'y', 'z']),
    kind: fc.constantFrom('take', 'take', 'take', 'remove', 'expire'),
    waitMs: fc.nat(700),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const table = new AdvertTable(4)
      let nowMs = 0
      for (const { peer, sequence, holds, kind, waitMs } of steps) {
        nowMs += waitMs
        if (kind === 'take')
          table.take(
            advert(peer, sequence, Object.fromEntries(holds.map((id) => [id, 'stored' as const]))),
            nowMs,
          )
        if (kind === 'remove') table.remove(peer)
        if (kind === 'expire') table.expire(nowMs)
        const known = table.known(nowMs)
        expect(known.length).toBeLessThanOrEqual(4)
        for (const id of ['x', 'y', 'z']) {
          const expected = known.filter(({ advert }) => advert.contexts.some((one) => one.contextId === id))
          expect(table.holders(id, nowMs).map(({ peer }) => peer)).toEqual(
            expected.map(({ advert }) => advert.peer).sort((a, b) => a.localeCompare(b)),
          )
        }
      }
    }),
  )
})
