import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { runOnce } from '../../sim/runs/run.ts'
import type { RunResult } from '../../sim/runs/result/run-result.ts'
import { loadScenario } from '../../sim/scenarios/load.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

const folder = temporaryFolder('faults')

const gpu = { name: 'gpu', count: 8, device: 'workstation', upMbps: 1000, downMbps: 1000 }
const scenario = {
  title: 'a few peers to which something happens',
  extends: join(import.meta.dirname, '../../sim/scenarios/base/lab'),
  horizonS: 20_000,
  contexts: { bytesGB: 1, chunkMB: 10 },
  jobs: [{ inferences: 8000 }],
  peers: [gpu],
}

/** Runs it to its end, with every check on. */
function run(changes: object): RunResult {
  const file = join(folder, 'scenario.yaml')
  writeFileSync(file, JSON.stringify({ ...scenario, ...changes }))
  const result = runOnce({ scenario: file, settings: [], seed: 1 })
  expect(result.checks.filter(({ holds }) => !holds)).toEqual([])
  expect(result.isComplete).toBe(true)
  return result
}

function inferencesOf({ peers }: RunResult, group: string): number {
  return peers.filter((peer) => peer.group === group).reduce((sum, { inferences }) => sum + inferences, 0)
}

describe('a peer that sends wrong chunks', () => {
  test('is banned by each that got two of them, and all get the context all the same', () => {
    const bad = { ...gpu, name: 'bad', count: 2, holds: true, corrupters: { share: 1, chunkShare: 1 } }
    const { faults, peers, bytes } = run({ peers: [bad, gpu] })
    expect(faults.bans).toBeGreaterThan(0)
    expect(faults.bans).toBeLessThanOrEqual(2 * 8)
    // Nobody takes more of it than those two, and what was asked for along with them.
    expect(faults.corruptChunks).toBeGreaterThanOrEqual(2 * faults.bans)
    expect(bytes.wasted).toBeGreaterThan(faults.corruptChunks * 9e6)
    expect(peers.filter(({ group, inferences }) => group === 'gpu' && inferences === 0)).toEqual([])
  })
})

describe('a peer that says that it has what it has not', () => {
  test('gets no work done, keeps none, and is found out by its silence', () => {
    const liars = { ...gpu, name: 'liar', count: 8, liars: { share: 1 } }
    const honest = run({})
    const mixed = run({ peers: [gpu, liars] })
    expect(inferencesOf(mixed, 'liar')).toBe(0)
    expect(inferencesOf(mixed, 'gpu')).toBe(8000)
    expect(mixed.makespanS).toBeLessThan(honest.makespanS + 30)
  })

  test('is no copy for long: holders ask it for a chunk, and make another', () => {
    const contexts = { bytesGB: 1, chunkMB: 10, copies: 1 }
    const liars = { ...gpu, name: 'liar', count: 2, liars: { share: 1 } }
    const changes = {
      contexts,
      origin: { upMbps: 1000, isThere: false },
      jobs: [{ inferences: 10, atS: 9000 }],
      peers: [gpu, liars],
    }
    const { copiesMade, contexts: held } = run(changes)
    expect(copiesMade).toBeGreaterThanOrEqual(2)
    expect(held[0]?.availability).toBe(1)
  })
})

describe('a partition', () => {
  const peers = [gpu, { ...gpu, name: 'far' }]
  const jobs = [{ inferences: 60_000 }]
  const cut = (fromS: number, untilS: number): RunResult =>
    run({ peers, jobs, partitions: [{ groups: ['far'], fromS, untilS }] })

  test('that is healed sooner than anybody is taken as gone costs hardly anything', () => {
    const whole = run({ peers, jobs })
    const short = cut(100, 105)
    expect(short.makespanS).toBeLessThan(whole.makespanS + 10)
    expect(short.work.wasted).toBeLessThanOrEqual(whole.work.wasted + 100)
  })

  test('leaves the work to those on the side of the submitter, and nothing is lost or done twice', () => {
    const long = cut(100, 19_000)
    expect(inferencesOf(long, 'far')).toBeLessThan(0.4 * inferencesOf(long, 'gpu'))
    const healed = cut(100, 400)
    expect(inferencesOf(healed, 'far')).toBeGreaterThan(1.5 * inferencesOf(long, 'far'))
    expect(healed.makespanS).toBeLessThan(long.makespanS)
  })

  test('makes each side keep copies of its own, which count again when it is healed', () => {
    const changes = {
      peers,
      contexts: { bytesGB: 1, chunkMB: 10, copies: 3 },
      origin: { upMbps: 1000, isThere: false },
      jobs: [{ inferences: 10, atS: 9000 }],
    }
    const { copiesMade } = run({ ...changes, partitions: [{ groups: ['far'], fromS: 1000, untilS: 4000 }] })
    expect(copiesMade).toBeGreaterThanOrEqual(2)
    expect(copiesMade).toBeLessThanOrEqual(4)
  })
})

test('while the bootstrap peer is down newcomers wait, and then all come in soon', () => {
  const late = { ...gpu, name: 'late', joinAtS: 100 }
  const { peers } = run({
    peers: [gpu, late],
    jobs: [{ inferences: 100_000 }],
    bootstrapLoss: [{ fromS: 50, untilS: 400 }],
  })
  const waits = peers
    .filter(({ group }) => group === 'late')
    .map(({ firstResultAfterS }) => firstResultAfterS ?? Number.POSITIVE_INFINITY)
  expect(Math.min(...waits)).toBeGreaterThan(300)
  expect(Math.max(...waits)).toBeLessThan(400)
})

test('errors in faults name their line', () => {
  const file = join(folder, 'wrong.yaml')
  const said = (faults: string): void => {
    const base = JSON.stringify(scenario.extends)
    writeFileSync(file, `title: wrong\nextends: ${base}\npeers:\n  - ${JSON.stringify(gpu)}\n${faults}`)
    loadScenario(file)
  }
  expect(() => said('partitions:\n  - { groups: [nobody], fromS: 1, untilS: 2 }\n')).toThrow(
    /wrong\.yaml:6: there is no group "nobody" to cut off: there are gpu/,
  )
  expect(() => said('partitions: [{ fromS: 5, untilS: 2 }]\n')).toThrow(
    /wrong\.yaml:5: partitions\.0: `untilS` must be after `fromS`/,
  )
  expect(() =>
    said('quiet: { fromS: 10, boundS: 5 }\nbootstrapLoss:\n  - { fromS: 1, untilS: 20 }\n'),
  ).toThrow(/wrong\.yaml:7: it is to end by 10 s/)
  expect(() => said('partitions: [{ fromS: 1, untilS: 2, share: 3 }]\n')).toThrow(/wrong\.yaml:5: .*share/)
})
