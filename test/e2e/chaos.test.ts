import { expect, test } from 'vitest'
import { seededRandom } from '../../src/base/random.ts'
import { ChaosSwarm, noFigures } from '../chaos/swarm.ts'

test('peers and submitter killed, cut off and ended: nothing lost, nothing twice, nothing wrong', async () => {
  const swarm = await ChaosSwarm.start({
    requests: 400,
    slots: 2,
    requestMs: 40,
    faults: {
      workers: 3,
      workerKills: 2,
      submitterKills: 1,
      freezes: 0,
      departures: 1,
      partitions: 0,
      resets: 1,
      lengthMs: 3_000,
    },
  })
  const figures = noFigures()
  try {
    await swarm.round(seededRandom(4), figures)
  } finally {
    await swarm.stop()
  }
  expect(figures).toMatchObject({ committed: 400, lost: 0, duplicated: 0, wrong: 0, unlikeJournal: 0 })
  expect(figures.faults['kill-worker'] + figures.faults['kill-submitter']).toBeGreaterThan(0)
})
