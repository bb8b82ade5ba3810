import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { runOnce } from '../../sim/run.ts'
import { loadScenario } from '../../sim/scenarios/load.ts'
import { readTrace } from '../../sim/traces/formats.ts'
import { TraceChurn } from '../../sim/traces/trace-churn.ts'
import { seededRandom } from '../../src/base/random.ts'

const OWN = [
  'batch-churn',
  'bulk-preempt',
  'campus-backfill',
  'hostile-p2p',
  'office-week',
  'spot-good',
  'spot-scarce',
  'spot-tight',
  'static-control',
  'volunteer-homes',
]
const folder = mkdtempSync(join(tmpdir(), 'hearth-sim-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.each(OWN)('the scenario %s', (name) => {
  test('runs to its end in small, with every check on', () => {
    const settings = [
      'jobs=[{ inferences: 2000 }]',
      'inferencesPerRequest=50',
      'peers.0.count=12',
      'contexts.chunkMB=100',
    ]
    const { isComplete, checks, work } = runOnce({ scenario: name, settings, seed: 1 })
    expect(isComplete).toBe(true)
    expect(work.completed).toBe(2000)
    expect(checks.filter(({ holds }) => !holds)).toEqual([])
  })
})

describe('a trace', () => {
  const csv = '0,add,a\n0,add,b\n60000,remove,a\n120000,add,a\n4000000,remove,b\n'

  test('is played as it was, and who comes back has its disk', () => {
    const churn = new TraceChurn(readTrace(csv, { random: seededRandom(1) }))
    const events = Array.from({ length: 6 }, () => churn.next())
    expect(events).toEqual([
      { kind: 'up', atMs: 0, peer: 0, isDiskKept: false },
      { kind: 'up', atMs: 0, peer: 1, isDiskKept: false },
      { kind: 'down', atMs: 60_000, peer: 0, cause: 'preempted', isForEver: false },
      { kind: 'up', atMs: 120_000, peer: 0, isDiskKept: true },
      { kind: 'down', atMs: 4_000_000, peer: 1, cause: 'preempted', isForEver: false },
      undefined,
    ])
  })

  test('is a part of the scenario: its peers run the work, and another trace is another scenario', () => {
    const file = join(folder, 'trace.csv')
    writeFileSync(file, csv)
    const settings = ['peers.0.count=0', 'jobs=[{ inferences: 500 }]', `peers.0.churn.trace=${file}`]
    const result = runOnce({ scenario: 'hostile-p2p', settings, seed: 1 })
    expect(result.peers).toHaveLength(2)
    expect(result.work.completed).toBe(500)
    writeFileSync(file, csv.replace('60000', '70000'))
    expect(loadScenario('hostile-p2p', settings).hash).not.toBe(result.scenarioHash)
    expect(() => loadScenario('hostile-p2p', ['peers.0.churn.trace=nowhere.csv'])).toThrow(/cannot be read/)
  })
})
