import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { codeHash, hashFiles } from '../../sim/runs/code-hash.ts'
import { runOnce } from '../../sim/runs/run.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

test('the hash of code changes with each file of it, and with nothing else', () => {
  const folder = temporaryFolder('code-hash')
  const put = (path: string, text: string): string => {
    mkdirSync(join(folder, 'src', 'core'), { recursive: true })
    writeFileSync(join(folder, 'src', path), text)
    return hashFiles(folder, ['src'])
  }
  const first = put('a.ts', 'export const A = 1')
  const nested = put('core/b.ts', 'export const B = 1')
  expect(put('notes.md', 'a page')).toBe(nested)
  const changed = put('a.ts', 'export const A = 2')
  expect(new Set([first, nested, changed]).size).toBe(3)
  expect(put('a.ts', 'export const A = 1')).toBe(nested)
})

test('a run says its code, and its series begins with the peers that are there at the start', () => {
  const { codeHash: code, series } = runOnce({
    scenario: 'static-control',
    settings: ['jobs.0.inferences=20', 'peers.0.count=4', 'horizonS=300'],
    seed: 1,
  })
  expect(code).toBe(codeHash())
  expect(code).toMatch(/^[0-9a-f]{64}$/)
  expect([series.timeS[0], series.livePeers[0], series.completed[0]]).toEqual([0, 4, 0])
  expect(series.timeS[1]).toBe(series.stepS)
})
