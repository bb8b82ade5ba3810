import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/random.ts'
import { DepartureChecks } from '../../../src/dht/core/departures.ts'
import { DEPARTURES_TIMINGS } from '../../../src/dht/timings.ts'

const { redialMinMs, redialMaxMs, checksAtOnce } = DEPARTURES_TIMINGS

describe('members that hung up', () => {
  test('are dialled after a while that differs, within the bounds', () => {
    const random = seededRandom(1)
    const checks = new DepartureChecks<number>({ ...DEPARTURES_TIMINGS, checksAtOnce: 500 })
    const waits = Array.from({ length: 500 }, (_, peer) => checks.begin(peer, random) ?? Number.NaN)
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(redialMinMs)
    expect(Math.max(...waits)).toBeLessThan(redialMaxMs)
    expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(0.9 * (redialMaxMs - redialMinMs))
  })

  test('are dialled once at a time, and few together', () => {
    const random = seededRandom(1)
    const checks = new DepartureChecks<number>(DEPARTURES_TIMINGS)
    for (let peer = 0; peer < checksAtOnce; peer += 1) expect(checks.begin(peer, random)).toBeDefined()
    expect(checks.begin(0, random)).toBeUndefined()
    expect(checks.begin(checksAtOnce, random)).toBeUndefined()
    checks.end(0)
    expect(checks.begin(0, random)).toBeDefined()
  })

  test('are not checked to the end twice', () => {
    const checks = new DepartureChecks<string>(DEPARTURES_TIMINGS)
    expect(() => checks.end('a')).toThrow('had not begun')
  })
})
