import { describe, expect, test } from 'vitest'
import { runOnce } from '../../sim/runs/run.ts'

describe('a run', () => {
  test('with one seed is one run, and all its checks hold', () => {
    const once = runOnce({ scenario: 'pv4', settings: ['jobs.0.inferences=20000'], seed: 3 })
    const again = runOnce({ scenario: 'pv4', settings: ['jobs.0.inferences=20000'], seed: 3 })
    expect({ ...again, wallS: 0 }).toEqual({ ...once, wallS: 0 })
    expect(once.isComplete).toBe(true)
    expect(once.checks.filter((check) => !check.holds)).toEqual([])
    const other = runOnce({ scenario: 'pv4', settings: ['jobs.0.inferences=20000'], seed: 4 })
    expect(other.eventHash).not.toBe(once.eventHash)
  })

  test('sees peers leave, loses what they ran and nothing else', () => {
    const result = runOnce({
      scenario: 'pv5s',
      settings: ['jobs.0.inferences=55000'],
      seed: 1,
    })
    expect(result.checks.filter((check) => !check.holds)).toEqual([])
    expect(result.work.completed).toBe(55_000)
    expect(result.gpuS.wasted).toBeGreaterThan(0)
    expect(result.work.wasted).toBeGreaterThan(0)
    // At most one task in flight on each of the 17 that may leave: 100 inferences of 0.62 s.
    expect(result.gpuS.wasted).toBeLessThan(17 * 100 * 0.8)
  })

  test.each([
    [1, 'requests of a few seconds', 480, 486],
    [50, 'requests of two minutes', 490, 490],
  ])('sees a peer go when it has done what it may: %i a request, %s', (inferences, _what, least, most) => {
    const { peers, checks } = runOnce({
      scenario: 'rolling-drain',
      settings: [
        'jobs=[{ inferences: 10000 }]',
        `inferencesPerRequest=${inferences}`,
        'peers.0.count=2',
        'peers.1.count=1',
        // Told at 480 s.
        'peers.1.leave.fromS=600',
      ],
      seed: 1,
    })
    const upS = peers.find(({ group }) => group === 'drained')?.gpuS.up
    expect(upS).toBeGreaterThanOrEqual(least)
    expect(upS).toBeLessThanOrEqual(most)
    expect(checks.filter((check) => !check.holds)).toEqual([])
  })

  test('gives out a batch as a whole, however large', () => {
    const settings = ['batch=7500', 'jobs.0.inferences=20000', 'peers.0.count=2', 'peers.1.count=1']
    expect(runOnce({ scenario: 'pv4', settings, seed: 1 }).tasks.count).toBe(3)
  })

  test('says which line of a scenario is wrong', () => {
    expect(() => runOnce({ scenario: 'pv4', settings: ['bath=3'], seed: 1 })).toThrow('--set bath')
    expect(() => runOnce({ scenario: 'pv4', settings: ['coordinator.peersmax=3'], seed: 1 })).toThrow(
      /--set coordinator\.peersmax: .*no such constant; there are .*peersMax/,
    )
    expect(() => runOnce({ scenario: 'test/sim/fixtures/wrong.yaml', settings: [], seed: 1 })).toThrow(
      /wrong\.yaml:4: batch/,
    )
  })
})
