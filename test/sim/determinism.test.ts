import { describe, expect, test } from 'vitest'
import { FleetChurn } from '../../sim/churn/fleet-churn.ts'
import { Kernel } from '../../sim/kernel/kernel.ts'
import { RandomStreams } from '../../sim/kernel/random-streams.ts'
import { runMany } from '../../sim/run-many.ts'
import { runOnce } from '../../sim/run.ts'
import { churnModelOf, churnSchema } from '../../sim/scenarios/churn-schema.ts'

const SMALL = ['peers.0.count=20', 'jobs.0.count=2', 'jobs.0.inferences=60000', 'horizonS=3600']

/** Two weeks of a fleet with a rhythm, whose lengths need exp, log, pow and sin. */
function hashOfChurn(): string {
  const kernel = new Kernel()
  const streams = new RandomStreams(5)
  const model = churnModelOf(
    churnSchema.parse({
      preset: 'home-pc',
      freezeShare: 0.2,
      rhythm: { dailySwing: 0.6, peakHour: 23, weekendRatio: 0.8, offsetsHours: [-8, 0, 1] },
      bulk: { groups: 3, perHour: 0.1, median: 4, sigma: 0.8, victims: 'random' },
    }),
  )
  const churn = new FleetChurn(model, 60, (entity, purpose) => streams.of(`home/${entity}`, purpose))
  for (let event = churn.next(); event !== undefined && event.atMs < 14 * 86_400_000; event = churn.next())
    kernel.at(event.atMs * 1000, event.peer, () => {})
  kernel.run(Number.MAX_SAFE_INTEGER)
  return kernel.hash
}

describe('the same seed gives the same events', () => {
  test('whatever the number of workers', { timeout: 60_000 }, async () => {
    const requests = [1, 2].map((seed) => ({ scenario: 'soak-10k-week', settings: SMALL, seed }))
    const hashes = requests.map((request) => runOnce(request).eventHash)
    for (const jobs of [1, 2]) {
      const results = await runMany(requests, jobs)
      expect(results.map(({ eventHash }) => eventHash)).toEqual(hashes)
    }
    expect(new Set(hashes).size).toBe(2)
  })

  // These were got on Node 24 and on Node 26. A change that is meant to change what happens changes them.
  test('in the churn of a fleet, on every version of Node', () => {
    expect(hashOfChurn()).toBe('5628d118ed8d5795')
  })

  test('in a run of the paper, on every version of Node', () => {
    const { eventHash } = runOnce({ scenario: 'pv5s', settings: ['jobs.0.inferences=3000'], seed: 1 })
    expect(eventHash).toBe('ae0c2de759fcdc1f')
  })
})
