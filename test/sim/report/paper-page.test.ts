import { expect, test } from 'vitest'
import { paperPage } from '../../../sim/commands/report-paper.ts'
import type { PaperRow } from '../../../sim/validate/paper.ts'
import { madeUpRun } from './runs.ts'

const row = (simulated: number, kind: PaperRow['kind']): PaperRow => ({
  run: 'pv1',
  what: `makespan & <more>, s ${simulated}`,
  published: 100,
  simulated,
  error: simulated / 100 - 1,
  low: 0.9,
  high: 1.1,
  isInBand: simulated >= 90 && simulated <= 110,
  kind,
})

test('the page beside the paper says of each figure how far off it is, and how many are in their bands', async () => {
  const rows = [row(104, 'fitted'), row(125, 'predicted')]
  const page = await paperPage(rows, [madeUpRun({ scenario: 'pv6' })])
  expect(page).toContain('Grey: the band it should be in. 1 of 2 are.')
  expect(page).toMatch(/<td>\+25\.0 %<\/td><td>-10 % … \+10 %<\/td><td>NO<\/td><td>predicted<\/td>/)
  expect(page).toContain('makespan &amp; &lt;more&gt;, s 104')
  expect(page.match(/<svg /g)).toHaveLength(2)
  expect(await paperPage(rows, [madeUpRun({ scenario: 'pv6' })])).toBe(page)
})
