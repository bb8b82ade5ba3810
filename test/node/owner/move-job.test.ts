import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { HearthError } from '../../../src/base/errors.ts'
import { JOB_PART_BYTES_MAX } from '../../../src/base/limits.ts'
import { DataFolder } from '../../../src/node/home/data-folder.ts'
import { loadOrCreateIdentity } from '../../../src/node/home/identity.ts'
import { mayRun } from '../../../src/node/jobs/core/job-place.ts'
import { JobFolder } from '../../../src/node/jobs/job-folder.ts'
import { viewJob } from '../../../src/node/jobs/job-view.ts'
import { openHere, placeOf } from '../../../src/node/jobs/place-file.ts'
import { JobArrivals } from '../../../src/node/owner/job-arrivals.ts'
import type { TransferQuestion } from '../../../src/node/owner/job-messages.ts'
import { confirmMove, moveJob, type JobTarget } from '../../../src/node/owner/move-job.ts'
import { exportOwner, loadOrCreateOwner } from '../../../src/node/owner/owner-key.ts'
import { Journal } from '../../../src/tasks/journal/journal.ts'
import { addJob, startOwnedPeers, type OwnedPeer } from '../../../testing/jobs/owned-peers.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const JOB = 'c3'.repeat(16)
const NEVER = new AbortController().signal

function committedIn(folder: JobFolder): number {
  const journal = Journal.read(folder.journalPath)!
  const { committed } = journal.counts()
  journal.close()
  return committed
}

describe('a job that is moved between two peers', () => {
  let laptop: OwnedPeer
  let desktop: OwnedPeer
  beforeAll(async () => {
    const line = exportOwner(await loadOrCreateOwner(new DataFolder(temporaryFolder('owner'))))
    ;[laptop, desktop] = (await startOwnedPeers([line, line])) as [OwnedPeer, OwnedPeer]
  })
  afterAll(async () => {
    for (const peer of [laptop, desktop]) {
      await peer.stop()
      await rm(peer.data.path, { recursive: true, force: true })
    }
  })

  test('goes on there with its results, its open leases and its identity, and comes back', async () => {
    const count = 4_000
    await addJob(laptop, JOB, { count, answered: 3_000 })
    const near = new JobFolder(laptop.data, JOB)
    const far = new JobFolder(desktop.data, JOB)
    const journal = Journal.open(near.journalPath)!
    journal.commit([{ peer: 'holder', leases: [{ n: 3_500, epoch: 7 }] }], [], 1)
    journal.close()
    const key = await loadOrCreateIdentity(near.identityPath)

    await laptop.owned.move(JOB, desktop.id, NEVER)
    expect(laptop.released).toEqual([JOB])
    expect(desktop.started).toEqual([JOB])
    expect(placeOf(near)).toMatchObject({ kind: 'moved', to: desktop.id, isConfirmed: true })
    expect(placeOf(far)).toMatchObject({ kind: 'here' })
    expect(viewJob(near, new Map())?.state).toBe('moved')
    expect(() => openHere(near)).toThrow(`was moved to peer ${desktop.id}`)
    const moved = openHere(far)!
    expect(moved.counts()).toMatchObject({ requests: count, committed: 3_000 })
    expect(moved.openLeases()).toEqual([{ n: 3_500, epoch: 7, holders: ['holder'] }])
    expect(moved.job).toMatchObject({ jobId: JOB, isDetached: true, outputPath: `${far.path}/results.jsonl` })
    moved.close()
    expect((await loadOrCreateIdentity(far.identityPath)).equals(key)).toBe(true)
    expect((await readFile(far.journalPath)).byteLength).toBeGreaterThan(JOB_PART_BYTES_MAX)

    await desktop.owned.move(JOB, laptop.id, NEVER)
    expect([mayRun(placeOf(near)), mayRun(placeOf(far))]).toEqual([true, false])
    expect(committedIn(near)).toBe(3_000)
    expect(readdirSync(near.path).filter((name) => /leaving|arriving|partial/.test(name))).toEqual([])
  })

  test('stays when it runs, when the other peer has it, and when that peer is of another owner', async () => {
    const other = 'e5'.repeat(16)
    await addJob(laptop, other, { count: 2, answered: 1 })
    const running = Journal.open(new JobFolder(laptop.data, other).journalPath)!
    await expect(laptop.owned.move(other, desktop.id, NEVER)).rejects.toMatchObject({ code: 'data-in-use' })
    running.close()
    await addJob(desktop, other, { count: 2, answered: 0 })
    await expect(laptop.owned.move(other, desktop.id, NEVER)).rejects.toThrow('runs here already')
    await expect(laptop.owned.move(other, laptop.id, NEVER)).rejects.toThrow()
    expect(mayRun(placeOf(new JobFolder(laptop.data, other)))).toBe(true)
    expect(laptop.started).toContain(other)
  })
})

describe('a move that fails at any step', () => {
  const LINES = 4
  /** offer, part, take, release. */
  const STEPS = 4
  let near: JobFolder
  let far: JobFolder
  let started: number
  let arrivals: JobArrivals
  let asked: number

  beforeEach(async () => {
    const laptop = new DataFolder(temporaryFolder('laptop'))
    const desktop = new DataFolder(temporaryFolder('desktop'))
    await addJob({ data: laptop }, JOB, { count: LINES, answered: 3 })
    near = new JobFolder(laptop, JOB)
    far = new JobFolder(desktop, JOB)
    started = 0
    asked = 0
    arrivals = new JobArrivals(desktop, () => void (started += 1))
  })

  /** Loses the request, or its answer, of one step. */
  function targetFailing(at: number, lost: 'request' | 'answer' | 'nothing'): JobTarget {
    const ask = async (question: TransferQuestion): Promise<{ type: 'held'; bytes: number }> => {
      const step = asked
      asked += 1
      const away = new HearthError('stream-closed', 'the desktop is away')
      if (step === at && lost === 'request') throw away
      const bytes = await arrivals.answer('laptop', question)
      if (step === at && lost === 'answer') throw away
      return { type: 'held', bytes }
    }
    return { peer: 'desktop', ask }
  }

  const holders = (): JobFolder[] =>
    [near, far].filter((folder) => placeOf(folder) !== undefined && mayRun(placeOf(folder)))

  const CASES = Array.from({ length: STEPS }, (_, at) => [
    { at, lost: 'request' as const },
    { at, lost: 'answer' as const },
  ]).flat()

  test.each(CASES)(
    'leaves the job at one machine, and ends when it is made again: $lost of step $at',
    async ({ at, lost }) => {
      const target = targetFailing(at, lost)
      await expect(moveJob(near, target)).rejects.toThrow('away')
      expect(holders().length).toBeLessThanOrEqual(1)
      const isGivenUp = placeOf(near)?.kind === 'moved'
      expect(isGivenUp).toBe(at === STEPS - 1)
      // Both machines start again.
      arrivals = new JobArrivals(
        new DataFolder(far.path.replace(/\/jobs\/.*/, '')),
        () => void (started += 1),
      )
      if (isGivenUp) {
        await confirmMove(near, target)
      } else {
        const journal = openHere(near)!
        expect(journal.counts()).toMatchObject({ committed: 3 })
        journal.cancel(1)
        journal.close()
        await moveJob(near, target)
      }
      expect(holders()).toEqual([far])
      expect(placeOf(near)).toMatchObject({ kind: 'moved', isConfirmed: true })
      expect(committedIn(far)).toBe(isGivenUp ? 3 : LINES)
      expect(started).toBeGreaterThan(0)
    },
  )

  test('a copy with other bytes is refused, and the job stays', async () => {
    const honest = targetFailing(-1, 'nothing')
    const bent: JobTarget = {
      ...honest,
      ask: async (question) => {
        if (question.type === 'part') question.bytes[4_200]! ^= 1
        return await honest.ask(question)
      },
    }
    await expect(moveJob(near, bent)).rejects.toMatchObject({ code: 'data-corrupt' })
    expect(existsSync(far.journalPath)).toBe(false)
    expect(holders()).toEqual([near])
    await moveJob(near, honest)
    expect(holders()).toEqual([far])
  })

  test('a damaged place lets the job run nowhere unsaid', async () => {
    await moveJob(near, targetFailing(-1, 'nothing'))
    writeFileSync(`${near.path}/place.json`, '{"kind":"her')
    expect(() => openHere(near)).toThrow('place.json is damaged')
  })
})
