import { expect, test } from 'vitest'
import { hostileResults } from '../../testing/runs/hostile-results.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

// A part of `npm run fuzz`, which sends a million: one journal of checked results and one of unchecked ones.
test('journals open, count and write their output after hostile results that the protocol allows', async () => {
  const outcome = await hostileResults({ results: 22_000, seed: 7, folder: temporaryFolder('hostile') })
  expect(outcome).toMatchObject({ results: 22_000, journals: 2 })
  expect(outcome.committed).toBeGreaterThan(1_000)
  expect(outcome.refused).toBeGreaterThan(10_000)
})
