import { describe, expect, test } from 'vitest'
import { reportPage } from '../../../sim/report/report.ts'
import { figuresOf } from '../../../sim/report/report.ts'
import { requireComparable } from '../../../sim/report/require-comparable.ts'
import { variantsOf } from '../../../sim/report/variants.ts'
import { madeUpRun } from './runs.ts'

const ids = (runs: Parameters<typeof variantsOf>[0]): string[] =>
  figuresOf(variantsOf(runs)).map(({ id }) => id)

describe('a report', () => {
  test('has the same bytes for the same runs, and needs no other file', async () => {
    const runs = ['none', 'pervasive'].flatMap((mode) =>
      [1, 2, 3].map((seed) =>
        madeUpRun({ seed, parameters: { mode }, makespanS: mode === 'none' ? 900 : 400 }),
      ),
    )
    const page = await reportPage(runs)
    expect(await reportPage(runs)).toBe(page)
    expect(page.match(/<svg /g)).toHaveLength(5)
    expect(page).not.toMatch(/(src|href)=|@import|url\((?!#)/)
    expect(page).toContain('mode pervasive')
    expect(page).toContain('± ')
    expect(page).toContain('All checks held')
  })

  test('shows what comes from a scenario as text, never as markup', async () => {
    const page = await reportPage([
      madeUpRun({ scenario: '<script>alert(1)</script>', title: 'a & "b" <img src=x onerror=y>' }),
      madeUpRun({ scenario: `it's <b>`, parameters: { '<i>': '"><svg onload=z>' } }),
    ])
    expect(page).not.toMatch(/<script|<img|<b>|<i>|<svg onload/)
    expect(page).toContain('&lt;script&gt;')
  })

  test('says loudly which check failed and which run was cut off', async () => {
    const run = madeUpRun({})
    const failed = {
      ...run,
      isComplete: false,
      checks: [{ check: 'tiers', holds: false, detail: 'peer 3 lied' }],
    }
    const page = await reportPage([failed])
    expect(page).toContain('tiers: peer 3 lied')
    expect(page).toContain('not done after')
    expect(page).not.toContain('All checks held')
  })

  test('ids of one figure do not clash with those of another on the page', async () => {
    const page = await reportPage([madeUpRun({ seed: 1 }), madeUpRun({ seed: 2 })])
    const defined = [...page.matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id)
    expect(new Set(defined).size).toBe(defined.length)
  })
})

describe('the figures', () => {
  test('of a sweep over lease size and churn are a map, one panel per mode', async () => {
    const runs = ['none', 'pervasive'].flatMap((mode) =>
      [1, 100].flatMap((batch) => [0, 1].map((churn) => madeUpRun({ parameters: { mode, batch, churn } }))),
    )
    expect(ids(runs)).toEqual(['heat-map', 'gpu-seconds'])
    const page = await reportPage(runs)
    expect(page).toContain('Makespan by batch and churn')
  })

  test('of a sweep over the number of copies show what they cost and buy', () => {
    const runs = [0, 1, 3].map((replicas) => madeUpRun({ parameters: { replicas } }))
    expect(ids(runs)).toContain('replication')
  })

  test('of one run are all that one run can show', () => {
    expect(ids([madeUpRun({})])).toEqual(['progress', 'gpu-seconds', 'start-up', 'tail'])
  })

  test('start-up is left out where no peer gave a result', () => {
    const run = madeUpRun({})
    for (const peer of run.peers) delete peer.firstResultAfterS
    expect(ids([run])).not.toContain('start-up')
  })
})

test('variants are told apart by what differs, and hold their runs by seed', () => {
  const runs = [2, 1].flatMap((seed) => [
    madeUpRun({ seed, parameters: { batch: 1, mode: 'none' } }),
    madeUpRun({ seed, parameters: { batch: 100, mode: 'none' } }),
  ])
  const variants = variantsOf(runs)
  expect(variants.map(({ label }) => label)).toEqual(['batch 1', 'batch 100'])
  expect(variants[0]?.runs.map(({ seed }) => seed)).toEqual([1, 2])
  expect(variantsOf([madeUpRun({}), madeUpRun({ scenario: 'drain' })]).map(({ label }) => label)).toEqual([
    'static',
    'drain',
  ])
})

test('runs of different code, or of one name and different scenarios, are refused, saying which differ', () => {
  const read = (path: string, changes: Parameters<typeof madeUpRun>[0], scenarioHash = 'a') => ({
    path,
    run: { ...madeUpRun(changes), scenarioHash },
  })
  expect(() => {
    requireComparable([read('one', {}), read('two', { seed: 2 }), read('three', { scenario: 'drain' }, 'b')])
    requireComparable([read('one', {}), read('two', { parameters: { batch: 2 } }, 'b')])
    requireComparable([])
  }).not.toThrow()
  expect(() =>
    requireComparable([read('one', {}), read('two', {}), read('three', { codeHash: 'other' })]),
  ).toThrow(/because the code changed between them: one \(c0de\) and three \(other\)/)
  const swapped = [
    { x: 1, y: 2 },
    { y: 2, x: 1 },
  ].map((parameters, n) => read(`run-${n}`, { parameters }, `h${n}`))
  expect(() => requireComparable(swapped)).toThrow(
    /because the scenario "static" changed between them: run-0 \(h0\) and run-1 \(h1\)/,
  )
})
