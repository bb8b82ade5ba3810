import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../../src/base/random.ts'
import {
  type OriginRace,
  type OriginVerdict,
  ORIGIN_TIMES,
  decideOrigin,
  newOriginRace,
} from '../../../../src/context-sharing/origin/core/origin.ts'
import type { OriginAnswer, OriginPhase } from '../../../../src/context-sharing/wire/origin-messages.ts'

const ORIGIN = 'bafkrei-model'
const WAITING: OriginPhase = { type: 'waiting' }
const downloading = (bytes: number): OriginPhase => ({ type: 'downloading', bytes })
const stored = (contextId: string): OriginAnswer => ({ type: 'stored', contextId })

/** What peer "b" does when the others answer so, at `nowMs`. */
function decide(
  own: OriginPhase,
  answers: Record<string, OriginAnswer>,
  nowMs = 0,
  race: OriginRace = newOriginRace('b', ORIGIN),
): OriginVerdict {
  return decideOrigin(race, { own, answers: new Map(Object.entries(answers)) }, nowMs)
}

describe('whoever wants a model of a hub', () => {
  test('downloads it at once when nobody else wants it', () => {
    expect(decide(WAITING, {})).toEqual({ kind: 'download' })
    expect(decide(WAITING, { a: { type: 'none' } })).toEqual({ kind: 'download' })
  })

  test('gets it from whoever has it, and takes the same as everybody where contexts differ', () => {
    const answers = { a: stored('y'), c: stored('x'), d: downloading(5) }
    expect(decide(downloading(9), answers)).toEqual({ kind: 'stored', contextId: 'x', peer: 'c' })
  })

  test('waits for the one that is furthest, and ends a download that is behind', () => {
    const verdict = { kind: 'wait', peer: 'c', bytes: 7 }
    expect(decide(WAITING, { a: downloading(5), c: downloading(7) })).toMatchObject(verdict)
    expect(decide(downloading(6), { a: downloading(5), c: downloading(7) })).toMatchObject(verdict)
    expect(decide(downloading(8), { a: downloading(5), c: downloading(7) })).toEqual({ kind: 'download' })
  })

  test('waits while it is hashed, though no bytes come', () => {
    const race = newOriginRace('b', ORIGIN)
    for (let nowMs = 0; nowMs <= ORIGIN_TIMES.importMsMax; nowMs += 10_000)
      expect(decide(WAITING, { a: { type: 'importing' } }, nowMs, race).kind).toBe('wait')
  })

  test('does not wait for a download that has stalled, and gives up its own for one that has not', () => {
    const race = newOriginRace('b', ORIGIN)
    const ask = (own: OriginPhase, bytesOfA: number, nowMs: number): string =>
      decide(own, { a: downloading(bytesOfA) }, nowMs, race).kind
    expect(ask(WAITING, 5, 0)).toBe('wait')
    expect(ask(WAITING, 5, 30_000)).toBe('wait')
    expect(ask(WAITING, 5, 31_000)).toBe('wait')
    expect(ask(WAITING, 5, 31_000 + ORIGIN_TIMES.settleMs)).toBe('download')
    expect(ask(downloading(1), 5, 40_000)).toBe('download')
    expect(ask(downloading(1), 6, 75_000)).toBe('wait')
  })

  test('begins in rank when the one that downloaded is gone, and not before', () => {
    const others = { a: WAITING, c: WAITING }
    const begins = ['a', 'b', 'c'].map((self) => {
      const race = newOriginRace(self, ORIGIN)
      const { [self as 'a']: _own, ...rivals } = { ...others, b: WAITING }
      decideOrigin(
        race,
        { own: WAITING, answers: new Map(Object.entries({ ...rivals, z: downloading(5) })) },
        0,
      )
      for (let nowMs = 0; nowMs < 60_000; nowMs += 500) {
        const verdict = decideOrigin(race, { own: WAITING, answers: new Map(Object.entries(rivals)) }, nowMs)
        if (verdict.kind === 'download') return nowMs
      }
      return Infinity
    })
    begins.sort((left, right) => left - right)
    expect(begins[0]).toBeGreaterThan(ORIGIN_TIMES.goneAfterMs)
    expect(begins.map((ms) => ms - begins[0]!)).toEqual([0, 3_000, 6_000])
  })
})

interface Peer {
  name: string
  race: OriginRace
  joinsMs: number
  diesMs: number
  phase: OriginPhase
  bytes: number
  isStored: boolean
}

/** A swarm in which each asks the others once a second, as the command does. Bytes read from the origin, and when all had it. */
function playSwarm({ seed, count, deaths }: { seed: number; count: number; deaths: number }): {
  originBytes: number
  endMs: number
} {
  const random = seededRandom(seed)
  const total = 100_000_000
  const bytesPerMs = 5_000
  const fetchMs = 2_000
  const peers: Peer[] = Array.from({ length: count }, (_value, index) => ({
    name: `${random.next().toString(36).slice(2, 10)}-${index}`,
    race: newOriginRace(`${index}`, ORIGIN),
    joinsMs: random.next() * 3_000,
    diesMs: index < deaths ? 3_000 + random.next() * 15_000 : Infinity,
    phase: WAITING,
    bytes: 0,
    isStored: false,
  }))
  for (const peer of peers) peer.race = newOriginRace(peer.name, ORIGIN)
  const fetchedAt = new Map<Peer, number>()
  let originBytes = 0
  const isUp = (peer: Peer, nowMs: number): boolean => nowMs >= peer.joinsMs && nowMs < peer.diesMs
  const answerOf = (peer: Peer): OriginAnswer => (peer.isStored ? stored('x') : peer.phase)
  for (let nowMs = 0; nowMs < 200_000; nowMs += 100) {
    for (const peer of peers.filter((peer) => isUp(peer, nowMs))) {
      if (peer.phase.type === 'downloading') {
        const more = Math.min(total - peer.bytes, bytesPerMs * 100)
        peer.bytes += more
        originBytes += more
        peer.phase = downloading(peer.bytes)
        if (peer.bytes === total) Object.assign(peer, { isStored: true, phase: WAITING })
      }
      if ((fetchedAt.get(peer) ?? Infinity) <= nowMs) peer.isStored = true
      const isItsTurn =
        Math.floor((nowMs - peer.joinsMs) / 1_000) !== Math.floor((nowMs - peer.joinsMs - 100) / 1_000)
      if (!isItsTurn || peer.isStored || fetchedAt.has(peer)) continue
      const others = peers.filter((other) => other !== peer && isUp(other, nowMs))
      const answers = new Map(others.map((other) => [other.name, answerOf(other)]))
      const verdict = decideOrigin(peer.race, { own: peer.phase, answers }, nowMs)
      if (verdict.kind === 'stored') fetchedAt.set(peer, nowMs + fetchMs)
      if (verdict.kind === 'download' && peer.phase.type === 'waiting') peer.phase = downloading(peer.bytes)
      if (verdict.kind === 'wait') peer.phase = WAITING
    }
    if (peers.every((peer) => peer.isStored || nowMs >= peer.diesMs))
      return { originBytes: originBytes / total, endMs: nowMs }
  }
  return { originBytes: originBytes / total, endMs: Infinity }
}

describe('a swarm whose peers add the same model', () => {
  test('reads the origin little more than once, however they come', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 2, max: 12 }), (seed, count) => {
        const { originBytes, endMs } = playSwarm({ seed, count, deaths: 0 })
        expect(originBytes).toBeLessThanOrEqual(1.1)
        expect(endMs).toBeLessThan(40_000)
      }),
      { numRuns: 50 },
    )
  })

  test('comes to its end whoever dies on the way, with one more download for each death at most', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 4 }), (seed, deaths) => {
        const { originBytes, endMs } = playSwarm({ seed, count: 10, deaths })
        expect(originBytes).toBeLessThanOrEqual(1.1 + deaths)
        expect(endMs).toBeLessThan(200_000)
      }),
      { numRuns: 50 },
    )
  })
})
