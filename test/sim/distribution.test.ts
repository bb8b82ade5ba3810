import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { leastDistributionTime } from '../../sim/statistics/closed-forms.ts'
import { runOnce } from '../../sim/runs/run.ts'

const CROWD = join(import.meta.dirname, 'scenarios/crowd.yaml')

describe('a crowd that fetches a context from one seed', () => {
  test('takes no less than the lower bound, and little more', () => {
    const { peers, checks } = runOnce({ scenario: CROWD, settings: [], seed: 1 })
    const boundS = leastDistributionTime({
      bytes: 800e6,
      seedUpload: 400e6 / 8,
      peers: peers.map(() => ({ upload: 100e6 / 8, download: 1000e6 / 8 })),
    })
    const tookS = Math.max(...peers.map(({ gpuS }) => gpuS.transfer))
    expect(checks.filter(({ holds }) => !holds)).toEqual([])
    expect(tookS / boundS).toBeGreaterThanOrEqual(1)
    expect(tookS / boundS).toBeLessThan(1.25)
  })
})
