import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Kernel } from '../../sim/kernel/kernel.ts'
import { runOnce } from '../../sim/runs/run.ts'
import type { RunResult } from '../../sim/runs/result/run-result.ts'
import { CopiesLedger } from '../../sim/world/swarm/copies-ledger.ts'
import { NearestPeers } from '../../sim/world/overlay/nearest-peers.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

const folder = temporaryFolder('copies')

const others = { name: 'other', count: 12, device: 'gaming', upMbps: 100, downMbps: 500 }
const holder = { ...others, name: 'holder', count: 1, upMbps: 200, holds: true }

/** A few peers, one model of 1 GB, no origin; the job comes after an hour. */
function run(changes: object, seed = 1): RunResult {
  const file = join(folder, 'scenario.yaml')
  const scenario = {
    title: 'a few peers that keep copies',
    extends: join(import.meta.dirname, '../../sim/scenarios/base/lab'),
    horizonS: 20_000,
    contexts: { bytesGB: 1, chunkMB: 10 },
    origin: { upMbps: 1000, isThere: false },
    jobs: [{ inferences: 200, atS: 3600 }],
    replicas: 3,
    ...changes,
  }
  writeFileSync(file, JSON.stringify(scenario))
  const result = runOnce({ scenario: file, settings: [], seed })
  expect(result.checks.filter(({ holds }) => !holds)).toEqual([])
  return result
}

describe('copies in a simulated swarm', () => {
  test('are made of what has only one, and outlive the peer that had it', () => {
    const peers = [{ ...holder, leave: { fromS: 1800, everyS: 1 } }, others]
    expect(run({ peers, replicas: 0 }).isComplete).toBe(false)
    const kept = run({ peers })
    expect(kept.isComplete).toBe(true)
    expect(kept.contexts[0]?.availability).toBe(1)
    // Two more were there when it left, and one came in its place.
    expect(kept.copiesMade).toBeGreaterThanOrEqual(3)
    expect(kept.copiesMade).toBeLessThanOrEqual(5)
    expect(kept.bytes.forCopies).toBeGreaterThanOrEqual(kept.copiesMade * 1e9)
  })

  test('are pushed by a peer that is told to leave, though those that joined make none yet', () => {
    const warned = { ...holder, leave: { fromS: 150, everyS: 1, noticeS: 120 } }
    expect(run({ peers: [warned, others] }).copiesMade).toBeGreaterThan(0)
    const unwarned = run({ peers: [{ ...holder, leave: { fromS: 50, everyS: 1 } }, others] })
    expect(unwarned.copiesMade).toBe(0)
    expect(unwarned.isComplete).toBe(false)
  })

  test('are made once, and found again when their peers come back', () => {
    const contexts = { bytesGB: 1, chunkMB: 10, copies: 3 }
    expect(run({ contexts, peers: [others] }).copiesMade).toBe(0)
    // Away for 108 s at a time, within the grace of 300 s: only where one alone is left are more made.
    const churn = { up: { exponentialH: 0.5 }, down: { constantH: 0.03 } }
    expect(run({ contexts, peers: [{ ...others, churn }] }).copiesMade).toBeLessThanOrEqual(2)
  })

  test('that are lost are made again after the grace, and not before', () => {
    const contexts = { bytesGB: 1, chunkMB: 10 }
    const holders = { ...others, name: 'holder', count: 3, holds: true }
    const leaver = { ...holders, name: 'leaver', count: 1, leave: { fromS: 1000, everyS: 1 } }
    const peers = [{ ...holders, count: 2 }, leaver, others]
    const { series } = run({ contexts, peers, stepS: 10 })
    const copiesAt = (timeS: number): number | undefined => series.replicas[series.timeS.indexOf(timeS)]
    expect([990, 1010, 1270].map(copiesAt)).toEqual([3, 2, 2])
    expect(copiesAt(1600)).toBe(3)
  })

  test('of what is short are made by one that joins, once it has been there for a while', () => {
    const peers = [
      { ...others, count: 2, holds: true },
      { ...others, name: 'late', count: 1, joinAtS: 500 },
    ]
    const { series } = run({ peers, stepS: 10 })
    const copiesAt = (timeS: number): number | undefined => series.replicas[series.timeS.indexOf(timeS)]
    expect(copiesAt(1090)).toBe(2)
    expect(copiesAt(1500)).toBe(3)
  })

  test('of what is in demand are one more than jobs use', () => {
    const contexts = { bytesGB: 1, chunkMB: 10, copies: 3 }
    const jobs = [{ inferences: 20_000 }]
    const coordinator = { peersMax: 3, giveUpMs: 604_800_000 }
    const busy = run({ contexts, jobs, coordinator, peers: [others] })
    expect(busy.copiesMade).toBe(1)
    expect(run({ contexts, jobs: [{ inferences: 20_000, atS: 3600 }], peers: [others] }).copiesMade).toBe(0)
  })

  test('leave room: a disk takes no more than it may, and what others hold goes first', () => {
    const result = run({
      contexts: { bytesGB: 1, chunkMB: 10, count: 12, copies: 3 },
      jobs: [{ inferences: 2000, context: 'zipf', count: 30, everyS: 300 }],
      zipfExponent: 0.2,
      coordinator: { peersMax: 6, giveUpMs: 604_800_000 },
      peers: [{ ...others, diskGB: 4.5 }],
    })
    expect(result.checks.map(({ check }) => check)).toContain('quotas')
    expect(result.contexts).toHaveLength(12)
    expect(result.contexts.every(({ availability }) => availability === 1)).toBe(true)
    // More came to some than their disks hold.
    expect(result.peers.some(({ bytesReceived }) => bytesReceived > 4.5e9)).toBe(true)
  })

  test('and who makes them are the same for the same seed, in a swarm in which not all know all', () => {
    const swarm = {
      horizonS: 9000,
      contexts: { bytesGB: 1, chunkMB: 20, copies: 2 },
      peers: [{ ...others, count: 100, churn: { preset: 'office-pc', stretch: 0.05 } }],
    }
    const once = run(swarm, 5)
    expect({ ...run(swarm, 5), wallS: 0 }).toEqual({ ...once, wallS: 0 })
    expect(once.copiesMade).toBeGreaterThan(0)
  })
})

test('the nearest peers are found as by looking at all', () => {
  const near = new NearestPeers()
  const positions = Array.from({ length: 300 }, (_, peer) => Math.imul(peer + 1, 0x9e3779b1) >>> 0)
  for (const [peer, position] of positions.entries()) near.add(position, peer)
  for (let peer = 0; peer < 300; peer += 3) near.delete(positions[peer] as number, peer)
  const left = [...positions.keys()].filter((peer) => peer % 3 !== 0)
  for (const key of [0, 0xffff_ffff, 0x1234_5678, positions[7] as number]) {
    const byDistance = left.toSorted(
      (one, other) => ((positions[one]! ^ key) >>> 0) - ((positions[other]! ^ key) >>> 0),
    )
    expect(near.nearest(key, 20)).toEqual(byDistance.slice(0, 20))
  }
  expect(near.nearest(5, 1000)).toHaveLength(200)
})

test('availability counts from when a context was first held', () => {
  const kernel = new Kernel()
  const ledger = new CopiesLedger(kernel)
  const at = (seconds: number, run: () => void): void => void kernel.at(seconds * 1e6, 0, run)
  at(100, () => ledger.gain(4))
  at(150, () => ledger.gain(4))
  at(160, () => ledger.lose(4))
  at(180, () => ledger.lose(4))
  at(200, () => {})
  kernel.run(200e6)
  expect(ledger.contexts).toEqual([4])
  expect(ledger.shares(4)).toEqual({ availability: 0.8, meanReplicas: 0.9 })
})
