import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { pageOf, pictureOf, readReports } from '../../bench/benchmarks-page.ts'
import { metricOf, shown, withOthersOf, type Report } from '../../bench/support/harness.ts'

const ROOT = join(import.meta.dirname, '../..')

test('docs/benchmarks.md and its picture are what the kept results give', () => {
  const reports = readReports(join(ROOT, 'bench/results'))
  expect(readFileSync(join(ROOT, 'docs/benchmarks.md'), 'utf8')).toBe(pageOf(reports))
  expect(readFileSync(join(ROOT, 'docs/benchmarks.svg'), 'utf8')).toBe(pictureOf(reports))
})

test('a figure says whether it is what was asked for', () => {
  const report: Report = {
    bench: 'speed',
    question: 'How fast?',
    commit: 'abc',
    machine: { cpu: 'a <fast> one', cores: 2, memoryBytes: 2 ** 34, node: 'v24.0.0' },
    metrics: [
      metricOf({ name: 'ours over theirs', unit: '', better: 'higher', bound: 2, toward: 4 }, [3, 1, 2]),
      metricOf({ name: 'bytes & more', unit: 'MB', better: 'lower', bound: 1 }, [150]),
      metricOf({ name: 'told only', unit: 'ms', better: 'lower' }, [0.012]),
    ],
  }
  const page = pageOf([report])
  expect(page).toContain('| ours over theirs | 2.00 | 1.00 – 3.00 (3) | ≥ 2.00 | ≥ 4.00 | met |')
  expect(page).toContain('| bytes & more | 150 MB |  | ≤ 1.00 |  | **missed** |')
  expect(page).toContain('| told only | 0.012 ms |  |  |  |  |')
  const picture = pictureOf([report])
  expect(picture).toContain('speed: bytes &amp; more')
  expect(picture.match(/<rect class="(good|bad)"/g)).toEqual(['<rect class="good"', '<rect class="bad"'])
})

test('a part that is measured again replaces its own figures and leaves the others with their commit', () => {
  const report = (commit: string, figures: Record<string, number>): Report => ({
    bench: 'speed',
    question: 'How fast?',
    commit,
    machine: { cpu: 'one', cores: 2, memoryBytes: 2 ** 34, node: 'v24.0.0' },
    metrics: Object.entries(figures).map(([name, value]) =>
      metricOf({ name, unit: '', better: 'higher' }, [value]),
    ),
  })
  const second = withOthersOf(report('abc', { far: 1, near: 2 }), report('def', { near: 3, new: 4 }))
  const third = withOthersOf(second, report('fed', { new: 5 }))
  expect(third.commit).toBe('fed')
  expect(third.metrics.map(({ name, value, commit }) => [name, value, commit])).toEqual([
    ['far', 1, 'abc'],
    ['near', 3, 'def'],
    ['new', 5, undefined],
  ])
  expect(pageOf([third])).toContain('| far (at abc) | 1.00 |')
})

test('a figure has as many digits as are worth reading', () => {
  expect([1234.5, 15.25, 1.234, 0.0123, 0, Number.NaN].map(shown)).toEqual([
    '1,235',
    '15.3',
    '1.23',
    '0.012',
    '0.00',
    '–',
  ])
})
