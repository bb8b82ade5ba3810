import { describe, expect, test } from 'vitest'
import type { ChurnEvent } from '../../../sim/churn/churn-events.ts'
import { PLAIN_DEPARTURE, type ChurnModel, type Sessions } from '../../../sim/churn/churn-model.ts'
import { cdf, residualCdf, type Distribution } from '../../../sim/churn/distribution.ts'
import { FleetChurn } from '../../../sim/churn/fleet-churn.ts'
import { HOUR_MS } from '../../../sim/churn/rhythm.ts'
import { availability } from '../../../sim/statistics/closed-forms.ts'
import { kolmogorovTail } from '../../../sim/statistics/special-functions.ts'
import { distance, streamsOf } from '../support.ts'

const UP: Distribution = { kind: 'weibull', shape: 0.5, scale: 2 * HOUR_MS }
const DOWN: Distribution = { kind: 'exponential', mean: HOUR_MS }
const SESSIONS: Sessions = { up: UP, down: DOWN, start: 'stationary', departure: PLAIN_DEPARTURE }

function play(model: ChurnModel, peers: number, untilMs: number, seed = 7): ChurnEvent[] {
  const churn = new FleetChurn(model, peers, streamsOf(seed))
  const events: ChurnEvent[] = []
  for (let event = churn.next(); event !== undefined && event.atMs <= untilMs; event = churn.next())
    events.push(event)
  return events
}

/** Peer-milliseconds up, from the events. */
function upTime(events: readonly ChurnEvent[], untilMs: number): number {
  let total = 0
  for (const { kind, atMs } of events) {
    if (kind === 'up' || kind === 'thaw') total += untilMs - atMs
    if (kind === 'down' || kind === 'freeze') total -= untilMs - atMs
  }
  return total
}

describe('sessions', () => {
  test('are up for the share of time that alternating renewal says', () => {
    const untilMs = 200 * HOUR_MS
    const events = play({ sessions: SESSIONS }, 1_000, untilMs)
    const share = upTime(events, untilMs) / (1_000 * untilMs)
    expect(share).toBeCloseTo(availability(4, 1), 2)
  })

  test('begin in the steady state: as many are up at the start as later, and they last longer', () => {
    const peers = 2_000
    const untilMs = 30 * HOUR_MS
    const events = play({ sessions: SESSIONS }, peers, untilMs)
    const atStart = events.filter(({ kind, atMs }) => kind === 'up' && atMs === 0)
    expect(atStart.length / peers).toBeCloseTo(0.8, 1)
    const firstDown = new Map<number, number>()
    for (const { kind, peer, atMs } of events)
      if (kind === 'down' && !firstDown.has(peer)) firstDown.set(peer, atMs)
    const left = atStart.flatMap(({ peer }) => firstDown.get(peer) ?? []).sort((a, b) => a - b)
    const chance = (law: (x: number) => number): number =>
      kolmogorovTail(Math.sqrt(left.length) * distance(left, (x) => law(x) / law(untilMs)))
    expect(chance((x) => residualCdf(UP, x))).toBeGreaterThan(0.01)
    expect(chance((x) => cdf(UP, x))).toBeLessThan(1e-6)
  })

  test('come in order of time, and each peer is up and down in turn', () => {
    const departure = { ...PLAIN_DEPARTURE, noticeMs: 30_000, noticeShare: 0.5, freezeShare: 0.3 }
    const bulk = {
      groups: 3,
      perHour: 0.5,
      size: { kind: 'log-normal', mu: 2, sigma: 1 } as const,
      victims: 'random' as const,
      noticeMs: 10_000,
      refill: DOWN,
    }
    const events = play({ sessions: { ...SESSIONS, departure }, bulk }, 60, 100 * HOUR_MS)
    const state = new Map<number, string>()
    let lastMs = 0
    for (const event of events) {
      expect(event.atMs).toBeGreaterThanOrEqual(lastMs)
      expect(Number.isInteger(event.atMs)).toBe(true)
      lastMs = event.atMs
      const before = state.get(event.peer) ?? 'down'
      if (event.kind === 'notice') expect(before).toBe('up')
      else {
        expect(before).toBe({ up: 'down', down: 'up', freeze: 'up', thaw: 'freeze' }[event.kind])
        state.set(event.peer, event.kind === 'thaw' ? 'up' : event.kind)
      }
    }
    expect(new Set(events.map(({ kind }) => kind)).size).toBe(5)
  })

  test('a peer lives the same life whoever else is there', () => {
    const of = (peers: number): ChurnEvent[] =>
      play({ sessions: SESSIONS }, peers, 50 * HOUR_MS).filter(({ peer }) => peer === 3)
    expect(of(5)).toEqual(of(50))
  })

  test('say what a departure is like in the shares asked for', () => {
    const departure = {
      noticeMs: 120_000,
      noticeShare: 0.75,
      freezeShare: 0,
      forEverShare: 0.2,
      wipeShare: 0.4,
    }
    const sessions: Sessions = {
      up: { kind: 'constant', value: HOUR_MS },
      down: DOWN,
      start: 'all-up',
      departure,
    }
    const events = play({ sessions }, 2_000, 1.01 * HOUR_MS)
    const notices = events.filter((event) => event.kind === 'notice')
    expect(notices.length / 2_000).toBeCloseTo(0.75, 1)
    for (const { atMs, downAtMs } of notices) expect(downAtMs - atMs).toBe(120_000)
    const lost = events.filter((event) => event.kind === 'down' && event.isForEver).map(({ peer }) => peer)
    expect(lost.length / 2_000).toBeCloseTo(0.2, 1)
    const later = play({ sessions }, 2_000, 20 * HOUR_MS).filter(({ atMs }) => atMs > 1.01 * HOUR_MS)
    expect(later.filter(({ peer }) => lost.includes(peer))).toEqual([])
    const back = later.filter((event) => event.kind === 'up')
    expect(back.filter(({ isDiskKept }) => !isDiskKept).length / back.length).toBeCloseTo(0.4, 1)
  })
})

describe('rhythm', () => {
  const rhythm = { dailySwing: 0.8, peakHour: 9, weekendRatio: 0.5, offsetsHours: [0] }
  const untilMs = 21 * 24 * HOUR_MS
  const perHour = (events: readonly ChurnEvent[]): number[] => {
    const counts = Array.from({ length: 24 * 7 }, () => 0)
    for (const { kind, atMs } of events) {
      const hour = Math.floor(atMs / HOUR_MS) % (24 * 7)
      if (kind === 'down') counts[hour] = (counts[hour] ?? 0) + 1
    }
    return counts
  }
  // So short an absence that nearly all are up always: what leaves is then the rate of leaving.
  const sessions: Sessions = {
    ...SESSIONS,
    up: { kind: 'exponential', mean: HOUR_MS },
    down: { kind: 'constant', value: 1_000 },
    rhythm,
  }
  const counts = perHour(play({ sessions }, 200, untilMs))
  const at = (day: number, hour: number): number => counts[day * 24 + hour] ?? 0

  test('nine times as many leave at the peak of a swing of 0.8 as twelve hours later', () => {
    const days = [0, 1, 2, 3, 4]
    const sum = (hour: number): number => days.reduce((total, day) => total + at(day, hour), 0)
    // Both are averages over an hour around the extremes.
    expect((sum(8) + sum(9)) / (sum(20) + sum(21))).toBeGreaterThan(7)
    expect((sum(8) + sum(9)) / (sum(20) + sum(21))).toBeLessThan(10)
  })

  test('half as many leave at a weekend as on a working day', () => {
    const day = (day: number): number =>
      Array.from({ length: 24 }, (_, hour) => at(day, hour)).reduce((sum, count) => sum + count, 0)
    const working = (day(0) + day(1) + day(2) + day(3) + day(4)) / 5
    expect((day(5) + day(6)) / 2 / working).toBeCloseTo(0.5, 1)
    expect(counts.reduce((sum, count) => sum + count, 0) / (200 * 21 * 24)).toBeCloseTo(1, 1)
  })
})

describe('bulk pre-emption', () => {
  const bulk = {
    groups: 2,
    perHour: 1,
    size: { kind: 'log-normal', mu: Math.log(6), sigma: 1.2 } as const,
    victims: 'newest' as const,
    noticeMs: 30_000,
    refill: { kind: 'constant', value: HOUR_MS / 10 } as const,
  }
  const sessions: Sessions = {
    ...SESSIONS,
    up: { kind: 'constant', value: 1e6 * HOUR_MS },
    start: 'all-up',
  }
  const events = play({ sessions, bulk }, 80, 400 * HOUR_MS)
  const taken = Map.groupBy(
    events.filter((event) => event.kind === 'down'),
    ({ atMs }) => atMs,
  )

  test('takes several peers of one group at a moment, after the notice, and refills their places', () => {
    expect(taken.size / 400).toBeCloseTo(2, 0)
    const sizes = [...taken.values()].map((downs) => downs.length).sort((a, b) => a - b)
    expect(sizes[sizes.length >> 1]).toBeGreaterThanOrEqual(5)
    expect(sizes[sizes.length >> 1]).toBeLessThanOrEqual(7)
    for (const [atMs, downs] of taken) {
      expect(downs.every(({ cause }) => cause === 'preempted')).toBe(true)
      expect(new Set(downs.map(({ peer }) => peer % 2)).size).toBe(1)
      const returned = events.filter((event) => event.kind === 'up' && event.atMs === atMs + HOUR_MS / 10)
      if (atMs + HOUR_MS / 10 < 399 * HOUR_MS) expect(returned.length).toBeGreaterThanOrEqual(downs.length)
    }
  })

  test('takes the newest first when told so', () => {
    const first = [...taken.values()][0] ?? []
    const group = (first[0]?.peer ?? 0) % 2
    const newest = Array.from({ length: first.length }, (_, index) => 78 + group - 2 * index)
    expect(first.map(({ peer }) => peer)).toEqual(newest)
  })
})

describe('arrivals', () => {
  const none: Sessions = { ...SESSIONS, up: { kind: 'constant', value: 1e6 * HOUR_MS } }
  const arrive = (model: Partial<ChurnModel>): number[] =>
    play({ sessions: none, ...model }, 0, 100 * HOUR_MS).map(({ atMs }) => atMs)

  test('of a Poisson process are as many as asked for, with exponential gaps', () => {
    const times = arrive({ arrivals: { kind: 'poisson', perHour: 20 } })
    expect(times.length / 100).toBeCloseTo(20, -1)
    const gaps = times.map((atMs, index) => atMs - (times[index - 1] ?? 0)).sort((a, b) => a - b)
    const law: Distribution = { kind: 'exponential', mean: HOUR_MS / 20 }
    expect(kolmogorovTail(Math.sqrt(gaps.length) * distance(gaps, (x) => cdf(law, x)))).toBeGreaterThan(0.01)
  })

  test('of a flash crowd all fall into its time', () => {
    const times = arrive({ arrivals: { kind: 'flash-crowd', peers: 500, atMs: 1_000, overMs: 60_000 } })
    expect(times).toHaveLength(500)
    expect(times[0]).toBeGreaterThanOrEqual(1_000)
    expect(times.at(-1)).toBeLessThanOrEqual(61_000)
  })

  test('as a list come at its times', () => {
    expect(arrive({ arrivals: { kind: 'at', timesMs: [5, 5, 70] } })).toEqual([5, 5, 70])
  })
})
