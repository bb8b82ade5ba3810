// A serving peer of the task protocol in a process of its own, its engine a function that answers after
// ENGINE_MS: what is left is Hearth. Tells its parent its address, and on any message what it has used of the processor.
import { sleep } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log/logger.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { SlotGate } from '../../src/inference/batching/slot-gate.ts'
import { temporaryIdentity } from '../../src/node/home/identity.ts'
import { Libp2pStack } from '../../src/node/network-stack.ts'
import { Worker, WORKER_DEFAULTS, type RunResult, type WarmContext } from '../../src/tasks/worker/worker.ts'

const { ENGINE_MS = '0', SLOTS = '64', WINDOW_MAX = '4096' } = process.env
const BODY = JSON.stringify({
  object: 'text_completion',
  choices: [{ index: 0, text: ' true', finish_reason: 'stop' }],
})
const ANSWER: RunResult = {
  outcome: 'ok',
  statusCode: 200,
  body: BODY,
  promptTokens: 12,
  completionTokens: 1,
}

const engineMs = Number(ENGINE_MS)
const slots = new SlotGate(Number(SLOTS))

/** Answers after `engineMs`, and says in its body how long it really took. */
async function runSlowly(_request: object, { signal }: { signal: AbortSignal }): Promise<RunResult> {
  return await slots.hold(signal, async () => {
    const beganMs = performance.now()
    await sleep(systemClock, engineMs, signal)
    return { ...ANSWER, body: JSON.stringify({ engineMs: performance.now() - beganMs }) }
  })
}

const context: WarmContext = {
  slots: Number(SLOTS),
  run: engineMs === 0 ? () => Promise.resolve(ANSWER) : runSlowly,
}

const stack = await Libp2pStack.create(
  { identity: await temporaryIdentity(), clock: systemClock, log: silentLogger },
  { swarm: 'bench', listen: ['/ip4/127.0.0.1/tcp/0'], mdns: false },
)
const worker = new Worker(
  {
    network: stack.network,
    clock: systemClock,
    log: silentLogger,
    prepare: () => Promise.resolve(context),
    discard: () => Promise.resolve(),
  },
  { ...WORKER_DEFAULTS, windowMax: Number(WINDOW_MAX) },
)
await stack.start()
await worker.start()
process.on('message', () => process.send?.({ cpuUs: process.cpuUsage() }))
process.once('disconnect', () => process.exit())
process.send?.({ address: stack.addresses[0], peer: stack.network.self })
