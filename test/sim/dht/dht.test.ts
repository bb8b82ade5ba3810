import { describe, expect, test } from 'vitest'
import { randomInteger, seededRandom } from '../../../src/base/random.ts'
import { PLAIN_DEPARTURE, type ChurnModel } from '../../../sim/churn/churn-model.ts'
import { asScenario, summariseDht } from '../../../sim/dht/dht-summary.ts'
import { DHT_DEFAULTS, DhtWorld, type DhtOptions } from '../../../sim/dht/dht-world.ts'
import { Lookup } from '../../../sim/dht/lookup.ts'
import { Records } from '../../../sim/dht/records.ts'
import { distance, RoutingTable } from '../../../sim/dht/routing-table.ts'

const MINUTE_MS = 60_000
const churn = (upMinutes: number, downMinutes: number): ChurnModel => ({
  sessions: {
    up: { kind: 'exponential', mean: upMinutes * MINUTE_MS },
    down: { kind: 'exponential', mean: downMinutes * MINUTE_MS },
    start: 'stationary',
    departure: PLAIN_DEPARTURE,
  },
})
const run = (options: Partial<DhtOptions>): ReturnType<typeof summariseDht> =>
  summariseDht(
    new DhtWorld({
      ...DHT_DEFAULTS,
      peers: 120,
      keys: 5,
      churn: churn(1e6, 1),
      settleMs: 3 * MINUTE_MS,
      untilMs: 8 * MINUTE_MS,
      ...options,
    }).run(),
  )

describe('the DHT', () => {
  test('without churn every find names holders that are up, in questions of the order of log n', () => {
    const { success, staleShare, unansweredShare, questionsPerFind, finds } = run({ peers: 300 })
    expect(finds).toBeGreaterThan(200)
    expect(success).toBe(1)
    expect(staleShare).toBeLessThan(0.01)
    expect(unansweredShare).toBeLessThan(0.01)
    expect(questionsPerFind).toBeLessThan(Math.log2(300))
  })

  test('under churn, holders are named that are gone, and fewer when records end sooner', () => {
    const restless = churn(10, 10)
    const long = run({ churn: restless, recordMs: 10 * MINUTE_MS, renewMs: MINUTE_MS })
    const short = run({ churn: restless, recordMs: 2 * MINUTE_MS, renewMs: MINUTE_MS })
    expect(long.staleShare).toBeGreaterThan(0.1)
    expect(short.staleShare).toBeLessThan(long.staleShare / 1.5)
    expect(short.success).toBeGreaterThan(0.9)
  })

  test('a dead peer costs the time that the DHT needs to notice', () => {
    const restless = churn(10, 10)
    const quick = run({ churn: restless, dialTimeoutMs: 500 })
    const slow = run({ churn: restless, dialTimeoutMs: 10_000 })
    expect(quick.unansweredShare).toBeGreaterThan(0.02)
    expect(slow.provideMs.p95).toBeGreaterThan(3 * quick.provideMs.p95)
  })

  test('the same seed is the same run', () => {
    const world = (seed: number): string =>
      new DhtWorld({ ...DHT_DEFAULTS, peers: 50, churn: churn(5, 5), untilMs: 5 * MINUTE_MS, seed }).run()
        .hash
    expect(world(3)).toBe(world(3))
    expect(world(3)).not.toBe(world(4))
  })

  test('its measures are a section of a scenario', () => {
    const lines = asScenario(run({}), 120_000)
    expect(lines.join('\n')).toMatch(
      /^dht:\n  publishS: [\d.]+\n  lookupMs: [\d.]+\n  lookupSigma: [\d.]+\n  success: 1\n  staleS: 120$/,
    )
  })
})

test('a table knows the closest of those it was given, and no bucket holds more than its size', () => {
  const random = seededRandom(1)
  const self = randomInteger(random, 2 ** 32)
  const table = new RoutingTable(self, 20)
  const near = Array.from({ length: 15 }, (_, index) => (self ^ (index + 1)) >>> 0)
  for (const id of near) table.admit(id)
  for (let n = 0; n < 5_000; n += 1) table.admit(randomInteger(random, 2 ** 32))
  expect(table.size).toBeLessThan(20 * 16)
  const byDistance = near.toSorted((a, b) => distance(a, self) - distance(b, self))
  expect(table.closest(self, 15)).toEqual(byDistance)
  table.evict(byDistance[0]!)
  expect(table.closest(self, 1)).toEqual([byDistance[1]])
})

test('a lookup asks the closest first, no more at once than it may, and ends with those that answered', () => {
  const lookup = new Lookup(0, 3, 2)
  lookup.hear([64, 8, 32, 16])
  expect(lookup.next()).toEqual([8, 16])
  expect(lookup.next()).toEqual([])
  lookup.answered(8, [1, 64])
  expect(lookup.next()).toEqual([1])
  lookup.failed(16)
  expect(lookup.next()).toEqual([32])
  lookup.answered(1, [])
  expect(lookup.isOver).toBe(false)
  lookup.answered(32, [])
  expect(lookup.isOver).toBe(true)
  expect(lookup.found).toEqual([1, 8, 32])
})

test('a record is not given after its end', () => {
  const records = new Records()
  records.put(1, 7, 100)
  records.put(1, 8, 200)
  expect(records.get(1, 99)).toEqual([7, 8])
  expect(records.get(1, 100)).toEqual([8])
  expect(records.get(2, 0)).toEqual([])
})
