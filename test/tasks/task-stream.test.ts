import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { nextTurn } from '../../src/base/event-loop.ts'
import { silentLogger } from '../../src/base/log/logger.ts'
import type { Network } from '../../src/base/stream/network.ts'
import { seededRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import type { Candidate } from '../../src/tasks/submitter/core/candidate.ts'
import {
  Coordinator,
  COORDINATOR_SHELL_DEFAULTS,
  type CandidateSource,
} from '../../src/tasks/submitter/coordinator.ts'
import { Journal } from '../../src/tasks/journal/journal.ts'
import {
  submitterMessageSchema,
  TASK_PROTOCOL,
  wireForm,
  workerMessageSchema,
} from '../../src/tasks/wire/task-messages.ts'
import { Worker, WORKER_DEFAULTS, type WarmContext } from '../../src/tasks/worker/worker.ts'
import { startStack, until } from '../../testing/libp2p-swarm.ts'
import type { Libp2pStack } from '../../src/node/network-stack.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

const REQUESTS = 200
const components = { clock: systemClock, random: seededRandom(1), log: silentLogger }

let folder: string
let stacks: Libp2pStack[]
beforeEach(async () => {
  folder = temporaryFolder('tasks')
  stacks = []
})
afterEach(async () => {
  await Promise.all(stacks.map((stack) => stack.stop()))
  await rm(folder, { recursive: true, force: true })
})

/** Peers on loopback that all know where the others are. */
async function connected(count: number): Promise<Libp2pStack[]> {
  stacks = await Promise.all(Array.from({ length: count }, () => startStack()))
  const [first, ...others] = stacks
  for (const other of others) await first!.members.meet(other.addresses[0]!, { deadlineMs: 5_000 })
  return stacks
}

async function makeJournal(requests = REQUESTS): Promise<Journal> {
  const job = {
    jobId: 'job',
    context: 'facts',
    contextId: 'context',
    inputPath: '',
    inputSha256: '',
    outputPath: '',
    createdAtMs: 0,
    isDetached: false,
  }
  async function* lines() {
    for (let n = 0; n < requests; n += 1)
      yield { line: n + 1, customId: `c${n}`, url: '/v1/completions', body: `{"n":${n}}` }
  }
  return Journal.create(join(folder, `journal-${requests}.sqlite`), job, lines())
}

function sourceOf(peers: Libp2pStack[]): CandidateSource {
  const candidates: Candidate[] = peers.map(({ network }) => ({
    peer: network.self,
    tier: 'stored',
    accepts: true,
  }))
  return {
    async *find() {
      yield candidates
    },
    watch: () => () => {},
  }
}

/** A context that echoes the request's body after a while. */
function echo(delayMs = 1, slots = 4): WarmContext {
  return {
    slots,
    async run({ body }) {
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      return {
        outcome: 'ok',
        statusCode: 200,
        body: `{"echo":${body}}`,
        promptTokens: 1,
        completionTokens: 2,
      }
    },
  }
}

async function startWorker(
  network: Network,
  prepare: () => Promise<WarmContext>,
  options = WORKER_DEFAULTS,
): Promise<Worker> {
  const worker = new Worker(
    { network, clock: systemClock, log: silentLogger, prepare, discard: () => Promise.resolve() },
    options,
  )
  await worker.start()
  return worker
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}

describe('tasks over real streams', () => {
  test('every request is answered once, by peers that share the work', async () => {
    const [submitter, ...peers] = await connected(3)
    const workers = await Promise.all(
      peers.map(({ network }) => startWorker(network, () => Promise.resolve(echo(25)))),
    )
    const journal = await makeJournal()
    const coordinator = new Coordinator({
      ...components,
      network: submitter!.network,
      journal,
      candidates: sourceOf(peers),
    })
    await coordinator.run()
    expect(journal.counts()).toMatchObject({
      requests: REQUESTS,
      committed: REQUESTS,
      failed: 0,
      completionTokens: 2 * REQUESTS,
    })
    expect([...journal.lines()].every(({ n, body }) => body === `{"echo":{"n":${n}}}`)).toBe(true)
    expect(journal.resultsByPeer()).toHaveLength(2)
    // What is acknowledged is forgotten by the peers.
    await until('acknowledged', () => workers.every((worker) => worker.status().undeliveredBytes === 0))
    await Promise.all(workers.map((worker) => worker.stop()))
    journal.close()
  })

  test('a peer that goes silent loses its work to another by deadline', async () => {
    const [submitter, silent, alive] = await connected(3)
    // It takes requests, and then nothing is ever heard of it: as a machine that hangs.
    await silent!.network.handle(TASK_PROTOCOL, async (stream) => {
      await stream.receive(submitterMessageSchema, { deadlineMs: 5_000 })
      await stream.send({ type: 'status', phase: 'ready' }, { deadlineMs: 5_000 })
      await stream.send({ type: 'credit', requests: 8 }, { deadlineMs: 5_000 })
      await new Promise<void>((resolve) => stream.onClose(() => resolve()))
    })
    const worker = await startWorker(alive!.network, () => Promise.resolve(echo()))
    const journal = await makeJournal(40)
    const options = { ...COORDINATOR_SHELL_DEFAULTS, silenceMs: 400, copiesMax: 1, retryMs: 60_000 }
    const coordinator = new Coordinator(
      { ...components, network: submitter!.network, journal, candidates: sourceOf([silent!, alive!]) },
      { ...options, aliveEveryMs: 100 },
    )
    const faster = setInterval(() => worker.status(), 50)
    await coordinator.run()
    clearInterval(faster)
    expect(journal.counts()).toMatchObject({ committed: 40, failed: 0 })
    expect(journal.resultsByPeer()).toEqual([{ peer: alive!.network.self, results: 40 }])
    await worker.stop()
    journal.close()
  })

  test('a submitter that returns gets the results that were finished while it was away', async () => {
    const [submitter, peer] = await connected(2)
    const worker = await startWorker(peer!.network, () => Promise.resolve(echo(200)))
    const open = async () => {
      const stream = await submitter!.network.open(peer!.network.self, TASK_PROTOCOL, {
        lane: 'control',
        deadlineMs: 5_000,
      })
      await stream.send({ type: 'open', job: 'job', contextId: 'context' }, { deadlineMs: 5_000 })
      return stream
    }
    const first = await open()
    for (;;) {
      const message = await first.receive(workerMessageSchema, { deadlineMs: 5_000 })
      if (message?.type === 'credit') break
    }
    const request = { n: 7, epoch: 3, url: '/v1/completions', body: '{}', isPrefixed: false }
    await first.send(wireForm({ type: 'requests', requests: [request] }), { deadlineMs: 5_000 })
    await new Promise((resolve) => setTimeout(resolve, 50))
    first.abort(new Error('cut'))
    const again = await open()
    for (;;) {
      const message = await again.receive(workerMessageSchema, { deadlineMs: 5_000 })
      if (message?.type !== 'results') continue
      expect(message.results).toMatchObject([{ n: 7, epoch: 3, outcome: 'ok', body: '{"echo":{}}' }])
      break
    }
    await worker.stop()
  })

  test('another peer does the requests that a leaving peer did not begin or finish', async () => {
    const [submitter, leaving, other] = await connected(3)
    const never: WarmContext = { slots: 2, run: (_request, { signal }) => untilAborted(signal) }
    const worker = await startWorker(leaving!.network, () => Promise.resolve(never))
    const journal = await makeJournal(20)
    const events: string[] = []
    const coordinator = new Coordinator({
      ...components,
      network: submitter!.network,
      journal,
      candidates: sourceOf([leaving!, other!]),
      events: { add: ({ kind }) => events.push(kind) },
    })
    const run = coordinator.run()
    await until('requests in hand', () => worker.status().running >= 2)
    await worker.drain(AbortSignal.timeout(50))
    const rest = await startWorker(other!.network, () => Promise.resolve(echo()))
    await run
    expect(journal.counts()).toMatchObject({ requests: 20, committed: 20, failed: 0 })
    expect(events).toContain('returned')
    await Promise.all([worker.stop(), rest.stop()])
    journal.close()
  })

  test('when a context cannot be made ready, the job ends with that reason', async () => {
    const [submitter, peer] = await connected(2)
    const worker = await startWorker(peer!.network, () => Promise.reject(new Error('no room on the disk')))
    const journal = await makeJournal(5)
    const coordinator = new Coordinator(
      { ...components, network: submitter!.network, journal, candidates: sourceOf([peer!]) },
      { ...COORDINATOR_SHELL_DEFAULTS, giveUpMs: 3_000 },
    )
    await expect(coordinator.run()).rejects.toThrow(/no room on the disk/)
    await worker.stop()
    journal.close()
  })

  test('a worker that was sent nothing has none of its answers committed', async () => {
    const [submitter, liar, honest] = await connected(3)
    const worker = await startWorker(honest!.network, () => Promise.resolve(echo(5)))
    // It gives no credit, so it is sent nothing; and it guesses the key of every request, again and again.
    const guess = { epoch: 1, outcome: 'ok' as const, statusCode: 200, body: '{}' }
    const results = [...Array(REQUESTS).keys()].map((n) => ({
      ...guess,
      n,
      promptTokens: 1,
      completionTokens: 1,
    }))
    let guesses = 0
    await liar!.network.handle(TASK_PROTOCOL, async (stream) => {
      await stream.send({ type: 'status', phase: 'ready' }, { deadlineMs: 5_000 })
      while (!stream.isClosed) {
        await stream.send(wireForm({ type: 'results', results }), { deadlineMs: 5_000 })
        guesses += 1
        await nextTurn()
      }
    })
    const journal = await makeJournal()
    const coordinator = new Coordinator({
      ...components,
      network: submitter!.network,
      journal,
      candidates: sourceOf([liar!, honest!]),
    })
    await coordinator.run()
    expect(guesses).toBeGreaterThan(0)
    expect(journal.resultsByPeer()).toEqual([{ peer: honest!.network.self, results: REQUESTS }])
    await worker.stop()
    journal.close()
  })

  test('a result whose body is not JSON is not believed: another peer is asked', async () => {
    const [submitter, liar, honest] = await connected(3)
    const lie: WarmContext = {
      ...echo(),
      run: () =>
        Promise.resolve({
          outcome: 'ok',
          statusCode: 200,
          body: 'nonsense',
          promptTokens: 0,
          completionTokens: 0,
        }),
    }
    const workers = [
      await startWorker(liar!.network, () => Promise.resolve(lie)),
      await startWorker(honest!.network, () => Promise.resolve(echo())),
    ]
    const journal = await makeJournal(30)
    const coordinator = new Coordinator(
      { ...components, network: submitter!.network, journal, candidates: sourceOf([liar!, honest!]) },
      { ...COORDINATOR_SHELL_DEFAULTS, retryMs: 50 },
    )
    await coordinator.run()
    expect(journal.resultsByPeer()).toEqual([{ peer: honest!.network.self, results: 30 }])
    await Promise.all(workers.map((worker) => worker.stop()))
    journal.close()
  })
})
