import { describe, expect, test } from 'vitest'
import { coldStarts, simulateBeside } from '../../bench/live/beside.ts'
import { runLive } from '../../bench/live/live-run.ts'
import { loadScenario } from '../../sim/scenarios/load.ts'

const BYTES = 4_000_000
/** Twenty seconds of the scenario: each of two peers is killed every eleven seconds, and comes back without its disk. */
const SETTINGS = [
  `contexts.bytesGB=${BYTES / 1e9}`,
  'jobs.0.inferences=40',
  'peers.1.count=2',
  'peers.1.churn={ up: { constantH: 0.003 }, down: { constantH: 0.001 }, start: all-up, wipeShare: 1 }',
  'devices.slow.loadS=1',
  'devices.fast.loadS=1',
]

// How near the two runs are is for `npm run bench -- live` on a quiet machine.
describe('a scenario on real processes', () => {
  test('does all its work while peers come and go, and is measured as the simulated one is', async () => {
    const request = { scenario: 'live-churn', settings: SETTINGS, seed: 1 }
    const { scenario } = loadScenario(request.scenario, request.settings)
    const run = await runLive(scenario, request.seed)
    const { live, simulated } = simulateBeside(run, request)
    const starts = run.peers.map((peer) => peer.starts.length)
    expect(Math.min(...starts.slice(1))).toBeGreaterThanOrEqual(2)
    for (const { committedS, links } of [live, simulated]) {
      expect(committedS).toHaveLength(40)
      expect(links.flatMap(({ resultsAtS }) => resultsAtS).length).toBeGreaterThanOrEqual(40)
    }
    expect(coldStarts(live)).toBeGreaterThanOrEqual(1)
    // Each start of the two finds an empty disk.
    expect(live.bytes).toBeLessThanOrEqual((starts.reduce((sum, count) => sum + count, 0) - 1) * 1.01 * BYTES)
  }, 120_000)
})
