import { expect, test } from 'vitest'
import { compareRuns, comparisonLines } from '../../sim/commands/compare.ts'
import { madeUpRun } from './report/runs.ts'

// Seeds move the makespan by hundreds of seconds, the policy by ten.
const seeds = Array.from({ length: 12 }, (_, index) => index + 1)
const spread = (seed: number): number => 800 + 37 * ((seed * 7) % 12)
const a = seeds.map((seed) => madeUpRun({ seed, makespanS: spread(seed) }))
const b = seeds.map((seed) => madeUpRun({ seed, makespanS: spread(seed) - 10 - (seed % 3) }))

test('runs on the same seeds tell policies apart that differ by far less than seeds do', () => {
  const compared = compareRuns(a, b, 1)
  const makespan = compared.find(({ measure }) => measure === 'makespan')
  expect(makespan?.isDifferent).toBe(true)
  expect(makespan?.difference.value).toBeCloseTo(-11, 5)
  expect(makespan?.difference.low).toBeGreaterThan(-12)
  expect(makespan?.ratio.high).toBeLessThan(1)
  expect(compared.find(({ measure }) => measure === 'work done')?.isDifferent).toBe(false)
  // The same runs in another order are not pairs: the effect drowns.
  const shuffled = compareRuns(a, [...b.slice(5), ...b.slice(0, 5)], 1)
  expect(shuffled.find(({ measure }) => measure === 'makespan')?.isDifferent).toBe(false)
})

test('the table has a row for every measure, and says which differ', () => {
  const lines = comparisonLines(compareRuns(a, b, 1), seeds.length)
  expect(lines[0]).toContain('12 pairs')
  expect(lines.find((line) => line.startsWith('makespan (s)'))).toMatch(/-11 ± 0\.\d+ .*yes$/)
  expect(lines.find((line) => line.startsWith('work done'))).toMatch(/no$/)
})
