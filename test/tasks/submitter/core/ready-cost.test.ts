import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../../src/base/random.ts'
import { CandidateBook } from '../../../../src/tasks/submitter/core/candidate-book.ts'
import type { Candidate } from '../../../../src/tasks/submitter/core/candidate.ts'
import { step } from '../../../../src/tasks/submitter/core/coordinator.ts'
import {
  COORDINATOR_DEFAULTS,
  createCoordinator,
} from '../../../../src/tasks/submitter/core/coordinator-state.ts'
import {
  paysBack,
  readyMs,
  usualFacts,
  type ReadyFacts,
} from '../../../../src/tasks/submitter/core/ready-cost.ts'

const GB = 1e9
const DEFAULTS = { loadMs: 1_500, fetchBytesPerSecond: 12_500_000, bytes: 5 }

describe('how long it takes until a peer can run', () => {
  const usual = { loadMs: 4_000, fetchBytesPerSecond: 100e6, bytes: GB }
  test.each<[string, ReadyFacts, number]>([
    ['warm: nothing, whatever it measured', { tier: 'warm', loadMs: 9_000 }, 0],
    ['stored: the load that it has measured', { tier: 'stored', loadMs: 2_500 }, 2_500],
    ['stored, never loaded there: what others need', { tier: 'stored' }, 4_000],
    [
      'absent: all bytes at its own rate, then its load',
      { tier: 'absent', fetchBytesPerSecond: 50e6, loadMs: 3_000 },
      23_000,
    ],
    ['absent and without a word: as others', { tier: 'absent' }, 14_000],
    ['partial: only what is missing', { tier: 'partial', share: 0.75, bytes: GB }, 6_500],
  ])('%s', (_name, facts, ms) => {
    expect(readyMs(facts, usual)).toBeCloseTo(ms)
  })

  test('values that nobody has measured come from the defaults, others from the median', () => {
    expect(usualFacts([{ tier: 'absent' }], DEFAULTS)).toEqual(DEFAULTS)
    const loaded = [500, 900, 60_000].map((loadMs) => ({ tier: 'warm' as const, loadMs, bytes: GB }))
    expect(usualFacts(loaded, DEFAULTS)).toEqual({ ...DEFAULTS, loadMs: 900, bytes: GB })
  })
})

describe('a peer is made ready only if that pays back', () => {
  /** A warm peer at work, 10 requests a second; `left` are to be done when the others are met. */
  function recruited(left: number, ...others: Candidate[]): string[] {
    const random = seededRandom(1)
    const state = createCoordinator({ ranges: [{ from: 0, to: left + 20 }] }, COORDINATOR_DEFAULTS)
    const holder: Candidate = { peer: 'holder', tier: 'warm', accepts: true, bytes: GB, loadMs: 2_000 }
    step(state, { kind: 'start' }, 0, random)
    step(state, { kind: 'candidates', candidates: [holder] }, 0, random)
    step(state, { kind: 'opened', peer: 'holder' }, 0, random)
    step(state, { kind: 'credit', peer: 'holder', requests: 40 }, 0, random)
    for (let n = 0; n < 20; n += 1) {
      const key = { n, epoch: 1 }
      step(state, { kind: 'result', peer: 'holder', key, outcome: 'ok' }, 100 * (n + 1), random)
      step(state, { kind: 'committed', peer: 'holder', key }, 100 * (n + 1), random)
    }
    step(state, { kind: 'tick' }, 2_000, random)
    return step(state, { kind: 'candidates', candidates: others }, 2_000, random).flatMap((effect) =>
      effect.kind === 'open' ? [effect.peer] : [],
    )
  }
  const cold = (peer: string, fetchBytesPerSecond: number): Candidate => ({
    peer,
    tier: 'absent',
    accepts: true,
    fetchBytesPerSecond,
  })
  const stored = (peer: string, loadMs: number): Candidate => ({
    peer,
    tier: 'stored',
    accepts: true,
    loadMs,
  })

  test.each<[string, number, Candidate[], string[]]>([
    ['ten seconds left, twelve to be ready: no', 100, [cold('a', 100e6)], []],
    ['twenty seconds left: yes', 200, [cold('a', 100e6)], ['a']],
    ['a slow link: no, a fast one: yes', 200, [cold('slow', 20e6), cold('fast', 200e6)], ['fast']],
    ['stored, but slow to load: no', 100, [stored('a', 15_000)], []],
    ['soonest first', 1_000, [cold('c', 100e6), stored('b', 9_000), stored('a', 10_000)], ['b', 'a', 'c']],
    ['warm: always', 1, [{ peer: 'a', tier: 'warm', accepts: true }], ['a']],
  ])('%s', (_name, left, others, peers) => {
    expect(recruited(left, ...others)).toEqual(peers)
  })

  test('exactly those are taken that are ready in time, as far as there is room, and the soonest of them', () => {
    const candidate = fc.record({
      tier: fc.constantFrom('warm', 'stored', 'partial', 'absent'),
      accepts: fc.boolean(),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      bytes: fc.integer({ min: 1, max: 1e10 }),
      loadMs: fc.option(fc.integer({ min: 1, max: 60_000 }), { nil: undefined }),
      fetchBytesPerSecond: fc.option(fc.integer({ min: 1e5, max: 1e9 }), { nil: undefined }),
    })
    fc.assert(
      fc.property(
        fc.array(candidate, { maxLength: 20 }),
        fc.integer({ min: 0, max: 200_000 }),
        fc.integer({ min: 1, max: 20 }),
        (facts, projectedMs, peersMax) => {
          const book = new CandidateBook({ ...COORDINATOR_DEFAULTS, peersMax })
          const candidates = facts.map((each, index) => ({ ...each, peer: String(index) })) as Candidate[]
          for (const each of candidates) book.learn(each, seededRandom(1))
          const usual = usualFacts(candidates, COORDINATOR_DEFAULTS)
          const cost = (each: Candidate): number => readyMs(each, usual)
          const isHeld = candidates.some(({ tier }) => tier !== 'absent')
          const worthIt = candidates.filter(
            (each) =>
              each.accepts && paysBack(cost(each), 0, projectedMs) && (isHeld || each.tier !== 'absent'),
          )
          const taken = book.recruits(0, projectedMs, 0).map((peer) => candidates[Number(peer)]!)
          expect(taken).toHaveLength(Math.min(peersMax, worthIt.length))
          expect(taken.every((each) => worthIt.includes(each))).toBe(true)
          for (const each of taken) {
            // It answers something before the rest of the job would be done without it: the job ends sooner.
            expect(cost(each) === 0 || cost(each) < projectedMs).toBe(true)
            for (const left of worthIt)
              if (!taken.includes(left)) expect(cost(left)).toBeGreaterThanOrEqual(cost(each))
          }
        },
      ),
    )
  })
})
