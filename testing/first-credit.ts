// Prints how much work a peer with one slot asks for at first: a simulated one, and a live one in this process.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { silentLogger } from '../src/base/log/logger.ts'
import { systemClock } from '../src/base/system-clock.ts'
import { TASK_PROTOCOL, workerMessageSchema } from '../src/tasks/wire/task-messages.ts'
import { Worker, WORKER_DEFAULTS, type WarmContext } from '../src/tasks/worker/worker.ts'
import { runOnce } from '../sim/runs/run.ts'
import { startStack } from './libp2p-swarm.ts'

function simulatedCredit(out: string): number {
  const settings = ['jobs=[{ inferences: 1000 }]', 'peers.0.count=1', 'contexts.chunkMB=100']
  runOnce({ scenario: 'static-control', settings, seed: 1, out, events: true, isBrief: true })
  const lines = readFileSync(join(out, 'events.ndjson'), 'utf8').trim().split('\n')
  const events = lines.map((line) => JSON.parse(line) as { kind?: string; requests?: number })
  return events.find(({ kind }) => kind === 'credit')?.requests ?? 0
}

async function liveCredit(): Promise<number> {
  const [peer, submitter] = await Promise.all([startStack(), startStack()])
  const context: WarmContext = { slots: 1, run: () => Promise.reject(new Error('nothing is sent')) }
  const worker = new Worker(
    {
      network: peer.network,
      clock: systemClock,
      log: silentLogger,
      prepare: () => Promise.resolve(context),
      discard: () => Promise.resolve(),
    },
    WORKER_DEFAULTS,
  )
  await worker.start()
  await submitter.members.meet(peer.addresses[0] as string, { deadlineMs: 5_000 })
  const wait = { deadlineMs: 5_000 }
  const stream = await submitter.network.open(peer.network.self, TASK_PROTOCOL, { lane: 'control', ...wait })
  await stream.send({ type: 'open', job: 'job', contextId: 'context' }, wait)
  for (;;) {
    const message = await stream.receive(workerMessageSchema, wait)
    if (message === undefined) throw new Error('the peer hung up')
    if (message.type !== 'credit') continue
    stream.abort(new Error('that is all'))
    await worker.stop()
    await Promise.all([peer.stop(), submitter.stop()])
    return message.requests
  }
}

const [out = ''] = process.argv.slice(2)
process.stdout.write(JSON.stringify({ simulated: simulatedCredit(out), live: await liveCredit() }))
