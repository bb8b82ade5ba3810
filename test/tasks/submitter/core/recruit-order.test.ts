import fc from 'fast-check'
import { expect, test } from 'vitest'
import { paysBack, readyMs } from '../../../../src/tasks/submitter/core/ready-cost.ts'
import {
  RecruitOrder,
  type Recruit,
  type RecruitWish,
} from '../../../../src/tasks/submitter/core/recruit-order.ts'

const USUAL = { loadMs: 1_000, fetchBytesPerSecond: 1_000_000, bytes: 3_000_000 }

const recruit: fc.Arbitrary<Omit<Recruit, 'peer'>> = fc.record({
  tier: fc.constantFrom<Recruit['tier'][]>('warm', 'stored', 'partial', 'absent'),
  accepts: fc.boolean(),
  loadMs: fc.constantFrom(undefined, 500, 2_000),
  tokensPerSecond: fc.constantFrom(undefined, 10, 20),
  failures: fc.integer({ min: 0, max: 2 }),
  retryAtMs: fc.constantFrom(0, 50, 150, 250),
  lot: fc.double({ min: 0, max: 1, noNaN: true }),
})
const change = fc.oneof(
  fc.record({ kind: fc.constant('put' as const), peer: fc.integer({ min: 0, max: 9 }), recruit }),
  fc.record({ kind: fc.constant('delete' as const), peer: fc.integer({ min: 0, max: 9 }) }),
  fc.record({ kind: fc.constant('suppose' as const), loadMs: fc.constantFrom(100, 1_000, 4_000) }),
  fc.record({
    kind: fc.constant('choose' as const),
    laterMs: fc.integer({ min: 0, max: 60 }),
    projectedMs: fc.constantFrom(600, 2_500, Infinity),
    room: fc.integer({ min: 1, max: 4 }),
    mayFetch: fc.boolean(),
  }),
)

/** What a look at all of them comes to. */
function bestOf(recruits: Recruit[], usual: typeof USUAL, wish: RecruitWish): Recruit[] {
  const costMs = (one: Recruit): number => readyMs(one, usual)
  return recruits
    .filter(({ tier, retryAtMs }) => (wish.mayFetch || tier !== 'absent') && wish.nowMs >= retryAtMs)
    .filter((one) => paysBack(costMs(one), wish.requestMs, wish.projectedMs))
    .sort(
      (one, other) =>
        costMs(one) - costMs(other) ||
        one.failures - other.failures ||
        (other.tokensPerSecond ?? 0) - (one.tokensPerSecond ?? 0) ||
        one.lot - other.lot,
    )
    .slice(0, wish.room)
}

test('the choice equals that of a full scan, whichever candidates come and go', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
      const order = new RecruitOrder(USUAL)
      const all = new Map<number, Recruit>()
      let usual = USUAL
      let nowMs = 0
      for (const each of changes) {
        if (each.kind === 'put' || each.kind === 'delete') {
          const known = all.get(each.peer)
          if (known !== undefined) order.delete(known)
          all.delete(each.peer)
        }
        if (each.kind === 'put') {
          // No two are alike in all: then nothing would say who is first.
          const added = {
            ...each.recruit,
            peer: `peer-${each.peer}`,
            lot: (each.peer + each.recruit.lot) / 11,
          }
          all.set(each.peer, added)
          order.add(added)
        } else if (each.kind === 'suppose') {
          usual = { ...USUAL, loadMs: each.loadMs }
          order.suppose(usual)
        } else if (each.kind === 'choose') {
          nowMs += each.laterMs
          const { projectedMs, room, mayFetch } = each
          const wish = { nowMs, projectedMs, requestMs: 100, mayFetch, room }
          const accepting = [...all.values()].filter(({ accepts }) => accepts)
          expect(order.choose(wish)).toEqual(bestOf(accepting, usual, wish))
          const waiting = accepting.filter(
            (one) => nowMs < one.retryAtMs && (mayFetch || one.tier !== 'absent'),
          )
          expect(order.retryAtMs).toBe(Math.min(...waiting.map(({ retryAtMs }) => retryAtMs)))
        }
      }
    }),
  )
})
