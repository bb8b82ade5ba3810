import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../../src/base/random.ts'
import { ReleasePlan } from '../../../../src/context-sharing/upload/core/release.ts'

const SECOND = 1000
const chunksUpTo = (count: number): number[] => Array.from({ length: count }, (_value, chunk) => chunk)

/** One thing that may happen to a plan; the numbers are taken modulo what there is. */
const anyEvent = fc.record({
  kind: fc.constantFrom('join', 'leave', 'show', 'ask', 'cancel', 'send', 'hold', 'wait'),
  fetcher: fc.nat(5),
  chunk: fc.nat(1000),
  ms: fc.nat(12 * SECOND),
})

describe('a release plan', () => {
  it('lets every chunk leave once before any leaves twice, whoever asks how fast', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 0, max: 1_000_000 }),
        (count, fetchers, seed) => {
          const random = seededRandom(seed)
          const plan = new ReleasePlan(count)
          const names = chunksUpTo(fetchers).map(String)
          const shown = new Map(names.map((name) => [name, [] as number[]]))
          for (const name of names) plan.join(name, 0)
          const sent: number[] = []
          for (let nowMs = 0; !plan.isOver; nowMs += 1 + Math.floor(random.next() * 500)) {
            const name = names[Math.floor(random.next() * fetchers)] ?? ''
            const chunks = plan.show(name, nowMs, random)
            plan.asked(name, chunks)
            const waiting = shown.get(name) ?? []
            waiting.push(...chunks)
            const chunk = waiting.shift()
            if (chunk === undefined) continue
            plan.sent(name, chunk, nowMs)
            sent.push(chunk)
          }
          expect(sent.sort((left, right) => left - right)).toEqual(chunksUpTo(count))
        },
      ),
      { numRuns: 100 },
    )
  })

  it('never keeps a chunk for two, nor forgets one, whatever happens', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 }),
        fc.array(anyEvent, { maxLength: 120 }),
        fc.integer({ min: 0, max: 1_000_000 }),
        (count, events, seed) => {
          const random = seededRandom(seed)
          const plan = new ReleasePlan(count)
          const kept = new Map<number, string>()
          const out = new Set<number>()
          let nowMs = 0
          const free = (fetcher: string): void => {
            for (const [chunk, keeper] of kept) if (keeper === fetcher) kept.delete(chunk)
          }
          const present = new Set<string>()
          for (const event of events) {
            const fetcher = String(event.fetcher)
            const chunk = event.chunk % count
            nowMs += event.ms
            if (event.kind === 'join' && !present.has(fetcher)) {
              plan.join(fetcher, nowMs)
              present.add(fetcher)
            }
            if (event.kind === 'leave') {
              plan.leave(fetcher)
              present.delete(fetcher)
              free(fetcher)
            }
            if (event.kind === 'ask') plan.asked(fetcher, [chunk])
            if (event.kind === 'cancel') plan.cancelled(fetcher, [chunk], nowMs)
            if (event.kind === 'send') plan.sent(fetcher, chunk, nowMs)
            if (event.kind === 'hold') plan.held([chunk])
            if (event.kind === 'send' || event.kind === 'hold') {
              out.add(chunk)
              kept.delete(chunk)
            }
            if (event.kind === 'show') {
              for (const shown of plan.show(fetcher, nowMs, random)) {
                expect(kept.has(shown)).toBe(false)
                expect(out.has(shown)).toBe(false)
                kept.set(shown, fetcher)
              }
            }
            expect(plan.isOver).toBe(out.size === count)
          }
          // Whoever comes late and stays gets all that is not out.
          for (const fetcher of present) plan.leave(fetcher)
          plan.join('late', nowMs)
          for (let turn = 0; !plan.isOver; turn += 1) {
            expect(turn).toBeLessThanOrEqual(count)
            for (const shown of plan.show('late', nowMs, random)) plan.sent('late', shown, nowMs)
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  it('shows what one fetcher does not ask for to another, and that one nothing more', () => {
    const plan = new ReleasePlan(3)
    const random = seededRandom(1)
    plan.join('lazy', 0)
    plan.join('eager', 0)
    expect(plan.show('lazy', 0, random)).toHaveLength(3)
    expect(plan.show('eager', 0, random)).toEqual([])
    plan.expire(9 * SECOND)
    expect(plan.show('eager', 9 * SECOND, random)).toEqual([])
    plan.expire(10 * SECOND)
    expect(plan.show('lazy', 10 * SECOND, random)).toEqual([])
    expect(plan.show('eager', 10 * SECOND, random)).toHaveLength(3)
  })

  it('waits for as long as it takes for what is asked for', () => {
    const plan = new ReleasePlan(3)
    plan.join('slow', 0)
    plan.asked('slow', plan.show('slow', 0, seededRandom(1)))
    plan.expire(100 * SECOND)
    plan.join('other', 100 * SECOND)
    expect(plan.show('other', 100 * SECOND, seededRandom(1))).toEqual([])
    plan.cancelled('slow', [0, 1, 2], 100 * SECOND)
    plan.expire(110 * SECOND)
    expect(plan.show('other', 110 * SECOND, seededRandom(1))).toHaveLength(3)
  })

  it('shows more ahead to whoever is sent more', () => {
    const plan = new ReleasePlan(1000)
    const random = seededRandom(1)
    plan.join('fast', 0)
    const waiting = plan.show('fast', 0, random)
    const first = waiting.length
    for (let nowMs = 0; nowMs < SECOND; nowMs += 20) {
      const chunk = waiting.shift()
      if (chunk !== undefined) plan.sent('fast', chunk, nowMs)
      waiting.push(...plan.show('fast', nowMs, random))
    }
    expect(waiting.length).toBeGreaterThan(5 * first)
    expect(waiting.length).toBeLessThanOrEqual(64)
  })
})
