import { readFile, rm, stat } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { HearthError } from '../../../src/base/errors.ts'
import { FRAME_BYTES_MAX, JOBS_TOLD_MAX, OWNER_PROOFS_MAX } from '../../../src/base/limits.ts'
import { encodeMessage } from '../../../src/base/stream/message-codec.ts'
import type { MessageStream } from '../../../src/base/stream/message-stream.ts'
import { DataFolder } from '../../../src/node/home/data-folder.ts'
import { JobFolder } from '../../../src/node/jobs/job-folder.ts'
import {
  challengeSchema,
  helloSchema,
  JOB_PROTOCOL,
  jobAnswerSchema,
  proofSchema,
  provenSchema,
  toWire,
} from '../../../src/node/owner/job-messages.ts'
import { proveAsAsker } from '../../../src/node/owner/job-proof.ts'
import { newestThatFit } from '../../../src/node/owner/owned-jobs.ts'
import type { JobView } from '../../../src/node/jobs/job-view.ts'
import {
  exportOwner,
  importOwner,
  loadOrCreateOwner,
  loadOwner,
  ownerName,
} from '../../../src/node/owner/owner-key.ts'
import { Journal } from '../../../src/tasks/journal/journal.ts'
import { addJob, startOwnedPeers, type OwnedPeer } from '../../../testing/jobs/owned-peers.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const NEVER = new AbortController().signal
const WAIT = { deadlineMs: 5_000 }
const JOB = 'a1'.repeat(16)

async function newOwner(): Promise<string> {
  return exportOwner(await loadOrCreateOwner(new DataFolder(temporaryFolder('owner'))))
}

describe('the owner key', () => {
  test('is made once, for its owner alone to read, and travels as one line', async () => {
    const one = new DataFolder(temporaryFolder('owner'))
    const other = new DataFolder(temporaryFolder('owner'))
    expect(await loadOwner(one)).toBeUndefined()
    const key = await loadOrCreateOwner(one)
    expect(ownerName(await loadOrCreateOwner(one))).toBe(ownerName(key))
    const line = exportOwner(key)
    await importOwner(other, `${line}\n`, { isForced: false })
    expect(ownerName((await loadOwner(other))!)).toBe(ownerName(key))
    expect(((await stat(other.ownerPath)).mode & 0o777).toString(8)).toBe('600')
    expect(line).not.toContain(ownerName(key))
  })

  test('another one is replaced only by force, and a wrong line is refused', async () => {
    const data = new DataFolder(temporaryFolder('owner'))
    const own = await loadOrCreateOwner(data)
    const line = await newOwner()
    await expect(importOwner(data, line, { isForced: false })).rejects.toThrow('--force')
    await expect(importOwner(data, 'hearth-owner-1:AAAA', { isForced: true })).rejects.toThrow('owner export')
    await expect(importOwner(data, 'nonsense', { isForced: true })).rejects.toThrow('owner export')
    expect(ownerName((await loadOwner(data))!)).toBe(ownerName(own))
    await importOwner(data, line, { isForced: true })
    expect(ownerName((await loadOwner(data))!)).not.toBe(ownerName(own))
  })
})

describe('jobs at another machine', () => {
  let laptop: OwnedPeer
  let desktop: OwnedPeer
  let stranger: OwnedPeer
  let ownerless: OwnedPeer
  beforeAll(async () => {
    const line = await newOwner()
    const peers = await startOwnedPeers([line, line, await newOwner(), undefined])
    ;[laptop, desktop, stranger, ownerless] = peers as [OwnedPeer, OwnedPeer, OwnedPeer, OwnedPeer]
  })
  afterEach(async () => {
    await rm(desktop.data.jobsPath, { recursive: true, force: true })
    desktop.running.length = 0
    desktop.released.length = 0
  })
  afterAll(async () => {
    for (const peer of [laptop, desktop, stranger, ownerless]) {
      await peer.stop()
      await rm(peer.data.path, { recursive: true, force: true })
    }
  })

  test('are listed and shown to their owner, with what their peer says of them', async () => {
    await addJob(desktop, JOB, { count: 5, answered: 2 })
    const waiting = { code: 'no-peers', words: 'nobody is there' }
    const counts = { requests: 5, committed: 2, failed: 0, promptTokens: 2, completionTokens: 2 }
    desktop.running.push({ jobId: JOB, counts, progress: undefined, waiting })
    const lists = await laptop.asker.list(NEVER)
    expect(lists).toEqual([
      { peer: desktop.id, jobs: [expect.objectContaining({ counts, state: 'running' })], leftOut: 0 },
    ])
    const shown = await laptop.asker.ask(desktop.id, { type: 'show', job: JOB.slice(0, 6) }, NEVER)
    expect(shown).toMatchObject({
      type: 'job',
      job: {
        waiting,
        job: { jobId: JOB, context: 'facts' },
        resultsByPeer: [{ peer: 'worker', results: 2 }],
      },
    })
  })

  test('are cancelled there: released, closed with error lines, and written', async () => {
    await addJob(desktop, JOB, { count: 5, answered: 2 })
    const answer = await laptop.asker.ask(desktop.id, { type: 'cancel', job: JOB }, NEVER)
    expect(answer).toMatchObject({ type: 'cancelled', job: { jobId: JOB, requests: 5, committed: 2 } })
    expect(desktop.released).toEqual([JOB])
    const output = await readFile(`${desktop.data.path}/out-${JOB}.jsonl`, 'utf8')
    expect(output.match(/batch_cancelled/g)).toHaveLength(3)
  })

  test('are removed there when they are over', async () => {
    await addJob(desktop, JOB, { count: 1, answered: 0 })
    const remove = (isForced: boolean): Promise<unknown> =>
      laptop.asker.ask(desktop.id, { type: 'remove', job: JOB, isForced }, NEVER)
    await expect(remove(false)).rejects.toMatchObject({ code: 'usage' })
    expect(await remove(true)).toEqual({ type: 'removed', jobId: JOB })
    await expect(remove(true)).rejects.toThrow('No job id starts')
  })

  test('an error there is the error here', async () => {
    await expect(laptop.asker.ask(desktop.id, { type: 'show', job: 'ff' }, NEVER)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('No job id starts with "ff"') as string,
    })
    await addJob(desktop, JOB, { count: 1, answered: 0 })
    const held = Journal.open(new JobFolder(desktop.data, JOB).journalPath)
    await expect(laptop.asker.ask(desktop.id, { type: 'cancel', job: JOB }, NEVER)).rejects.toMatchObject({
      code: 'data-in-use',
    })
    held?.close()
  })

  test('a stranger, and a peer without an owner, get the same refusal with and without jobs', async () => {
    const refusals: unknown[] = []
    for (const isThere of [false, true]) {
      if (isThere) await addJob(desktop, JOB, { count: 1, answered: 0 })
      for (const at of [desktop, ownerless])
        refusals.push(
          await stranger.asker.ask(at.id, { type: 'show', job: JOB }, NEVER).catch((error: unknown) => {
            const { code, message } = error as HearthError
            return [code, message.replace(at.id, 'PEER')]
          }),
        )
    }
    expect(new Set(refusals.map((refusal) => JSON.stringify(refusal)))).toEqual(
      new Set([JSON.stringify(['peer-unreachable', 'peer PEER is not of the same owner'])]),
    )
    expect(await stranger.asker.list(NEVER)).toEqual([])
    expect(await ownerless.asker.list(NEVER)).toEqual([])
    await expect(ownerless.asker.ask(desktop.id, { type: 'list' }, NEVER)).rejects.toThrow('owner import')
  })

  test('a proof that a third peer passes on proves nothing: it is bound to both ends', async () => {
    // The stranger answers the laptop as if it were the desktop, whose messages it passes on.
    const relayed: unknown[] = []
    const relay = await stranger.bare.network.handle('relay/1', async (near) => {
      const far = await stranger.bare.network.open(desktop.id, JOB_PROTOCOL, { lane: 'control', ...WAIT })
      await far.send(await near.receive(helloSchema, WAIT), WAIT)
      await near.send(await far.receive(challengeSchema, WAIT), WAIT)
      await far.send(await near.receive(proofSchema, WAIT), WAIT)
      const answer = await far.receive(provenSchema, WAIT)
      relayed.push(answer)
      await near.send(answer, WAIT)
    })
    const key = (await loadOwner(laptop.data))!
    const stream = await laptop.bare.network.open(stranger.id, 'relay/1', { lane: 'control', ...WAIT })
    await expect(proveAsAsker(stream, { key, self: laptop.id }, WAIT)).rejects.toThrow(
      'not of the same owner',
    )
    expect(relayed).toEqual([{ type: 'refused' }])
    await relay()
  })

  test('silent strangers make room for the owner', async () => {
    const open = (): Promise<MessageStream> =>
      stranger.bare.network.open(desktop.id, JOB_PROTOCOL, { lane: 'control', ...WAIT })
    const silent = await Promise.all(Array.from({ length: OWNER_PROOFS_MAX }, open))
    for (const stream of silent) {
      await stream.send({ type: 'hello', nonce: new Uint8Array(32) }, WAIT)
      expect(await stream.receive(challengeSchema, WAIT)).toBeDefined()
    }
    await addJob(desktop, JOB, { count: 1, answered: 0 })
    expect(await laptop.asker.list(NEVER)).toHaveLength(1)
    expect(silent.filter(({ isClosed }) => isClosed)).toHaveLength(1)
    for (const stream of silent) stream.abort(new Error('enough'))
  })
})

describe('a list of jobs', () => {
  const view: JobView = {
    job: {
      jobId: JOB,
      context: 'facts',
      contextId: '',
      inputPath: '/in',
      inputSha256: 'aa',
      outputPath: '/out',
      createdAtMs: 1,
      isDetached: true,
    },
    state: 'done',
    counts: { requests: 1, committed: 1, failed: 0, promptTokens: 1, completionTokens: 1 },
    progress: undefined,
    waiting: undefined,
  }

  test('has the newest, as many as are allowed and as fit a frame', () => {
    const many = Array.from({ length: JOBS_TOLD_MAX + 7 }, (_, index) => ({
      ...view,
      job: { ...view.job, createdAtMs: index },
    }))
    const { jobs, leftOut } = newestThatFit(many)
    expect([jobs.length, leftOut, jobs[0]?.job.createdAtMs]).toEqual([JOBS_TOLD_MAX, 7, 7])
    const long = { ...view, job: { ...view.job, outputPath: 'ü'.repeat(4_000) } }
    const fitting = newestThatFit(Array.from({ length: 500 }, () => long))
    const frame = encodeMessage(toWire({ type: 'jobs', ...fitting }))
    expect(fitting.leftOut).toBeGreaterThan(0)
    expect(frame.byteLength).toBeLessThan(FRAME_BYTES_MAX)
    expect(jobAnswerSchema.parse(toWire({ type: 'jobs', ...newestThatFit(many) }))).toMatchObject({
      leftOut: 7,
    })
  })
})
