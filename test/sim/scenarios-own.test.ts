import { readdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { runOnce } from '../../sim/runs/run.ts'
import { loadScenario, SCENARIOS_FOLDER } from '../../sim/scenarios/load.ts'
import { readTrace } from '../../sim/traces/formats.ts'
import { TraceChurn } from '../../sim/traces/trace-churn.ts'
import { seededRandom } from '../../src/base/random.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

const folder = temporaryFolder('sim')

/** Peers that are in a group at most, and inferences that are asked for, so that the scenario is a small one. */
const PEERS_MAX = 12
const INFERENCES = 2000

const shipped = readdirSync(SCENARIOS_FOLDER)
  .filter((file) => file.endsWith('.yaml'))
  .map((file) => basename(file, '.yaml'))

function inSmall(name: string): string[] {
  const { scenario } = loadScenario(name)
  const joins = join(folder, 'joins.csv')
  writeFileSync(joins, 't_s,workers\n0,3\n60,8\n')
  return [
    `jobs=[{ inferences: ${INFERENCES} }]`,
    ...(scenario.inferencesPerRequest === 1 ? [] : ['inferencesPerRequest=50']),
    'contexts.chunkMB=100',
    ...scenario.peers.map(({ count }, index) => `peers.${index}.count=${Math.min(count, PEERS_MAX)}`),
    ...(scenario.joins === undefined ? [] : [`joins=${joins}`]),
  ]
}

test('all that were promised are shipped', () => {
  const promised = (
    'pv0 pv1 pv2 pv3 pv4 pv5p pv5s ' +
    'pv6 campus-backfill volunteer-homes spot-good spot-tight spot-scarce bulk-preempt ' +
    'hostile-p2p flash-crowd mass-exit rolling-drain multi-context long-tail-context two-submitters ' +
    'stragglers partition-heal bootstrap-loss lying-peers static-control'
  ).split(' ')
  expect(shipped).toEqual(expect.arrayContaining(promised))
})

describe.each(shipped)('the scenario %s', (name) => {
  test('runs to its end in small, with every check on', () => {
    const { isComplete, checks, work } = runOnce({ scenario: name, settings: inSmall(name), seed: 1 })
    expect(checks.filter(({ holds }) => !holds)).toEqual([])
    expect(isComplete).toBe(true)
    expect(work.completed).toBe(INFERENCES)
  })
})

test('a run of the paper takes any batch size and any joins from the command line', () => {
  const settings = [...inSmall('pv6'), 'batch=750', 'mode=partial']
  const { peers, tasks, scenarioHash } = runOnce({ scenario: 'pv6', settings, seed: 1 })
  expect(peers).toHaveLength(8)
  expect(tasks.count).toBe(3)
  expect(scenarioHash).not.toBe(loadScenario('pv6', inSmall('pv6')).hash)
  expect(() => loadScenario('pv6', ['joins=nowhere.csv'])).toThrow(/nowhere\.csv.*cannot be read/)
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
