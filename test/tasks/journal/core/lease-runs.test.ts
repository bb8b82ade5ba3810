import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runsOf } from '../../../../src/tasks/journal/core/lease-runs.ts'

const keys = fc.array(fc.record({ n: fc.nat(6), epoch: fc.integer({ min: 1, max: 2 }) }), { maxLength: 12 })

test('runs are the leases in their order, each as long as it can be', () => {
  fc.assert(
    fc.property(keys, (leases) => {
      const runs = [...runsOf(leases)]
      expect(runs.flat()).toEqual(leases)
      for (const [index, run] of runs.entries()) {
        for (const [at, key] of run.entries()) expect(key).toEqual({ n: run[0].n + at, epoch: run[0].epoch })
        const next = runs[index + 1]?.[0]
        expect(next).not.toEqual({ n: run[0].n + run.length, epoch: run[0].epoch })
      }
    }),
  )
})
