import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { checkAfterSteps } from '../../src/base/invariants.ts'
import { COORDINATOR_DEFAULTS } from '../../src/tasks/submitter/core/coordinator-state.ts'
import { World, type WorldOptions } from '../../testing/virtual/task-world.ts'

const HOUR_MS = 3_600_000
/** A lone peer that is killed twice a second needs its luck: one in some hundred such jobs is not done in an hour. */
const DAY_MS: number = 24 * HOUR_MS

const worlds: fc.Arbitrary<WorldOptions> = fc.record({
  seed: fc.integer({ min: 1, max: 2 ** 31 }),
  requests: fc.integer({ min: 1, max: 120 }),
  peers: fc.integer({ min: 1, max: 6 }),
  slots: fc.integer({ min: 1, max: 8 }),
  killsPerSecond: fc.constantFrom(0, 0.3, 1, 2),
  drainsPerSecond: fc.constantFrom(0, 0.5),
  breaksPerSecond: fc.constantFrom(0, 1, 3),
  submitterKillsPerSecond: fc.constantFrom(0, 0.2, 0.5),
  duplicateShare: fc.constantFrom(0, 0.3),
  lateShare: fc.constantFrom(0, 0.02, 0.2),
  leapsPerSecond: fc.constantFrom(0, 0.1),
  ticksAlways: fc.boolean(),
})

function runAtRandom(numRuns: number): void {
  fc.assert(
    fc.property(worlds, (options) => {
      const world = new World({
        ...options,
        coordinator: { giveUpMs: DAY_MS, lossesMax: 1000 },
      })
      world.run(DAY_MS)
      expect(world.finished).toBe(true)
      expect(world.doubleCommits).toBe(0)
      expect(world.needlessEffects).toEqual([])
      expect([...world.results.keys()].sort((a, b) => a - b)).toEqual([...Array(options.requests).keys()])
      for (const [n, { key }] of world.results) expect(world.epochs.get(n)).toBe(key.epoch)
      expect(world.stuckMs).toBeLessThanOrEqual(3 * COORDINATOR_DEFAULTS.silenceMs)
    }),
    { numRuns },
  )
}

describe('exactly once, whatever the order of events', () => {
  test(
    'with peers and the submitter killed at random, every request is committed once and the job ends',
    { timeout: 120_000 },
    () => {
      // To check the cores after every step takes six times as long: the next test does it for some.
      checkAfterSteps(false)
      onTestFinished(() => checkAfterSteps(true))
      runAtRandom(10_000)
    },
  )

  test('the cores hold what they should after every step', { timeout: 120_000 }, () => runAtRandom(500))

  test('a late result under an old epoch does not hide the lease that its peer has now', () => {
    const world = new World({
      seed: 893_747_838,
      requests: 35,
      peers: 1,
      slots: 1,
      killsPerSecond: 2,
      breaksPerSecond: 3,
      submitterKillsPerSecond: 0,
      duplicateShare: 0.3,
      coordinator: { giveUpMs: HOUR_MS, lossesMax: 1000 },
    })
    world.run(HOUR_MS)
    expect(world.finished).toBe(true)
  })

  test('a request on which every peer fails becomes one error line and holds nothing up', () => {
    fc.assert(
      fc.property(worlds, fc.integer({ min: 0, max: 119 }), (options, n) => {
        const poisoned = n % options.requests
        const world = new World({
          ...options,
          killsPerSecond: 0,
          breaksPerSecond: 0,
          submitterKillsPerSecond: 0,
          poison: new Set([poisoned]),
          coordinator: { giveUpMs: HOUR_MS },
        })
        world.run(HOUR_MS)
        expect(world.finished).toBe(true)
        expect(world.results.size).toBe(options.requests)
        expect(world.results.get(poisoned)?.outcome).toBe('failed')
        expect([...world.results.values()].filter((result) => result.outcome === 'failed')).toHaveLength(1)
      }),
      { numRuns: 100 },
    )
  })

  test('a bad request is confirmed by one other peer, and not tried again', () => {
    const world = new World({
      seed: 3,
      requests: 50,
      peers: 3,
      slots: 4,
      killsPerSecond: 0,
      submitterKillsPerSecond: 0,
      breaksPerSecond: 0,
      duplicateShare: 0,
      bad: new Set([7]),
      coordinator: { copiesMax: 1 },
    })
    world.run(HOUR_MS)
    expect(world.finished).toBe(true)
    expect(world.executions).toBe(51)
    expect(world.results.get(7)?.outcome).toBe('bad-request')
  })

  test('a liar beside honest peers turns no request into an error', () => {
    fc.assert(
      fc.property(worlds, fc.integer({ min: 0, max: 119 }), (options, n) => {
        const bad = n % options.requests
        const world = new World({
          ...options,
          peers: options.peers + 2,
          killsPerSecond: 0,
          breaksPerSecond: 0,
          drainsPerSecond: 0,
          leapsPerSecond: 0,
          bad: new Set([bad]),
          liars: new Set(['peer-0']),
          coordinator: { giveUpMs: HOUR_MS, lossesMax: 1000 },
        })
        world.run(HOUR_MS)
        expect(world.finished).toBe(true)
        const errors = [...world.results].filter(([, { outcome }]) => outcome !== 'ok')
        expect(errors.map(([request]) => request)).toEqual([bad])
      }),
      { numRuns: 100 },
    )
  })
})
