import { expect, test } from 'vitest'
import { timeLines } from '../../../testing/runs/time-per-file.ts'

test('the ten slowest files are printed, slowest first, and those over their budget are named', () => {
  const quick = Array.from({ length: 12 }, (_, n) => ({ project: 'unit', path: `q${n}.ts`, seconds: n / 10 }))
  const lines = timeLines([
    ...quick,
    { project: 'unit', path: 'slow.ts', seconds: 31 },
    { project: 'e2e', path: 'whole.ts', seconds: 59 },
  ])
  expect(lines.slice(0, 4)).toEqual([
    'Slowest test files:',
    '    59.0 s  whole.ts',
    '    31.0 s  slow.ts',
    '     1.1 s  q11.ts',
  ])
  expect(lines).toHaveLength(12)
  expect(lines[11]).toBe(
    'Over budget: slow.ts took 31.0 s, and unit files have 30 s; split it or make it quicker',
  )
})
