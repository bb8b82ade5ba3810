import { expect, test } from 'vitest'
import { nightlyTrial } from '../../../testing/runs/nightly-trial.ts'

test('a night runs every scenario in turn, and chaos after every eighth', () => {
  const scenarios = Array.from({ length: 10 }, (_, n) => `scenario-${n}`)
  const night = Array.from({ length: 18 }, (_, turn) => nightlyTrial(scenarios, turn, turn).what)
  expect(night.filter((what) => what === 'chaos')).toHaveLength(2)
  expect(night[8]).toBe('chaos')
  expect(new Set(night)).toEqual(new Set([...scenarios, 'chaos']))
})

test('a trial is repeated by its command', () => {
  expect(nightlyTrial(['live-drain'], 0, 7).command.join(' ')).toBe(
    'bin/hearth.js sim run live-drain --seed 7 --out out/nightly/live-drain',
  )
  expect(nightlyTrial(['live-drain'], 8, 9).command).toContain('9')
})
