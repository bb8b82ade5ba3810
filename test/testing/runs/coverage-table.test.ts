import { expect, test } from 'vitest'
import { coverageLines } from '../../../testing/runs/coverage-table.ts'

test('each folder has a line, weighted by its files, and the total is last', () => {
  const file = (
    path: string,
    total: number,
    covered: number,
  ): Parameters<typeof coverageLines>[0][number] => ({
    path,
    lines: { total, covered },
    branches: { total: 0, covered: 0 },
  })
  expect(
    coverageLines([
      file('src/b/core/x.ts', 10, 10),
      file('src/a/core/x.ts', 30, 15),
      file('src/a/core/y.ts', 10, 5),
    ]),
  ).toEqual([
    ' lines  branches  folder',
    ' 50.0%         -  src/a/core',
    '100.0%         -  src/b/core',
    ' 60.0%         -  all cores',
  ])
})
