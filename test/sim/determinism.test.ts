import { describe, expect, test } from 'vitest'
import { normal } from '../../sim/churn/distribution.ts'
import { FleetChurn } from '../../sim/churn/fleet-churn.ts'
import { Kernel } from '../../sim/kernel/kernel.ts'
import { RandomStreams } from '../../sim/kernel/random-streams.ts'
import { FairFlows } from '../../sim/network/fair-flows.ts'
import { runMany } from '../../sim/runs/run-many.ts'
import { runOnce } from '../../sim/runs/run.ts'
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

/** Two hundred transfers among ten hosts, each of log-normal size, at max–min fair rates. */
function hashOfFlows(): string {
  const kernel = new Kernel()
  const flows = new FairFlows(kernel)
  const random = new RandomStreams(7).of('flows', 'sizes')
  const hosts = Array.from({ length: 10 }, () =>
    flows.addNode(1e6 + 1e7 * random.next(), 5e7 * random.next()),
  )
  for (let index = 0; index < 200; index += 1) {
    const from = hosts[index % 10] as number
    const to = hosts[(index * 7 + 3) % 10] as number
    const bytes = 1e6 * Math.exp(normal(random))
    kernel.at(index * 20_000, 0, () => flows.send(flows.open(from, to), bytes, () => kernel.note(index)))
  }
  kernel.run(1e12)
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

  // These hashes are those of Node 24.21 and of Node 26.10.
  test('in the churn of a fleet, on every version of Node', () => {
    expect(hashOfChurn()).toBe('5628d118ed8d5795')
  })

  test('in bytes that share lines, on every version of Node', () => {
    expect(hashOfFlows()).toBe('a8b884cedee23a84')
  })
})
