import { appendFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { ControlServer } from '../../api/control-server.ts'
import { sleep } from '../../base/clock.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import { EventLog } from '../../base/log/event-log.ts'
import { numberOption } from '../../base/number-option.ts'
import { withGrace } from '../../context-sharing/replication/core/replication.ts'
import { CHURN_LOG_SCHEMA } from '../../node/home/churn-log.ts'
import { DetachedJobs } from '../../node/jobs/detached-jobs.ts'
import { Peer } from '../../node/peer.ts'
import { tunePeerHeap } from '../../node/peer-heap.ts'
import { ShutdownNotice } from '../../node/shutdown-notice.ts'
import type { EvaluationMode } from '../../tasks/worker/core/worker-state.ts'
import type { DeviceWish } from '../../inference/device/device-choice.ts'
import type { EngineName, FakeTiming } from '../../inference/contract/engine.ts'
import type { CommandContext, CommonOptions } from '../terminal/command-context.ts'
import { readEndpoint, serveEndpoint, type EndpointCommandOptions } from './endpoint.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { type StoreCommandOptions, boundsOf, uploadOf } from '../terminal/store-options.ts'
import { paint } from '../terminal/terminal.ts'

/** How long a peer that has left still answers "hearth drain", ms: a little more than that takes to ask again. */
const LINGER_MS = 750

export interface UpCommandOptions extends CommonOptions, EndpointCommandOptions, StoreCommandOptions {
  listen: string[]
  announce: string[]
  lan?: boolean
  directLane: boolean
  bootstrap: string[]
  swarm?: string
  engine?: EngineName
  slots?: string
  threads?: string
  quickStart?: boolean
  device?: DeviceWish
  evaluate?: EvaluationMode
  fakeTiming?: string
  replicate: boolean
  repairAfter: string
  drainDeadline: string
  shutdownNotice?: string
  churnLog?: string
}

/** How long lines of the churn log may wait for the disk, ms, and how many of them. */
const CHURN_FLUSH_MS = 1_000
const CHURN_WAITING_MAX = 16_384

/** `hearth up`: runs a peer until it is told to stop. */
export async function upCommand(options: UpCommandOptions, context: CommandContext): Promise<number> {
  const { data } = context
  const drainMs = msOf('--drain-deadline', options.drainDeadline)
  const endpoint = readEndpoint(options)
  const unlock = data.lock()
  tunePeerHeap()
  const peer = await Peer.createServing(context, {
    data,
    listen: listenOn(options, data.memory().port),
    announce: options.announce,
    directLane: options.directLane,
    bounds: boundsOf(options),
    upload: uploadOf(options),
    bootstrap: options.bootstrap,
    swarm: options.swarm,
    evaluate: options.evaluate,
    engine: {
      engine: options.engine,
      slots: count('--slots', options.slots),
      threads: count('--threads', options.threads),
      quickStart: options.quickStart,
      device: options.device,
      endpoint,
      fake: fakeTiming(options.fakeTiming),
    },
    replication: {
      ...withGrace(msOf('--repair-after', options.repairAfter)),
      isTaking: options.replicate,
    },
  })
  const jobs = new DetachedJobs(context, { data, swarm: peer.swarm, bootstrap: () => peer.addresses })
  const control = new ControlServer({
    peer,
    jobs,
    nowMs: () => context.clock.nowMs(),
    log: context.log,
  })
  let stopChurnLog: () => Promise<void> = () => Promise.resolve()
  try {
    await peer.start()
    stopChurnLog = await startChurnLog(peer, options.churnLog, context)
    jobs.start()
    data.publishControl(await control.start())
    announce(peer, options, context)
    if (endpoint !== undefined) await serveEndpoint(peer, endpoint, options.name, context)
    const notice = await watchNotice(peer, options, context)
    await untilLeft(peer, drainMs, context).finally(() => notice?.stop())
    return EXIT.ok
  } finally {
    await control.stop()
    await jobs.stop()
    await stopChurnLog()
    await peer.stop()
    unlock()
  }
}

/** Logs who comes and goes into `file`, if there is to be one. Throws `output-unwritable` when it cannot be. */
async function startChurnLog(
  peer: Peer,
  file: string | undefined,
  { clock }: CommandContext,
): Promise<() => Promise<void>> {
  if (file === undefined) return () => Promise.resolve()
  try {
    await appendFile(file, '')
  } catch (cause) {
    throw new HearthError('output-unwritable', `the churn log cannot be written: ${messageOf(cause)}`, {
      cause,
    })
  }
  const log = new EventLog(clock, resolve(file), {
    schema: CHURN_LOG_SCHEMA,
    flushEveryMs: CHURN_FLUSH_MS,
    waitingMax: CHURN_WAITING_MAX,
  })
  const stop = peer.logChurn(log)
  return async () => {
    stop()
    await log.close()
  }
}

/** Loopback unless told otherwise; --lan opens the peer to the network it is on, on the port it had last. */
function listenOn(options: UpCommandOptions, lastPort: number | undefined): string[] {
  if (options.listen.length > 0) return options.listen
  return [`/ip4/${options.lan === true ? '0.0.0.0' : '127.0.0.1'}/tcp/${lastPort ?? 0}`]
}

/** A count of something, at least 1; undefined when the option is not given. */
function count(name: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : numberOption(name, text, { isWhole: true, least: 1 })
}

/** "LOAD/PREFILL/TOKEN", each in ms. */
function fakeTiming(text: string | undefined): FakeTiming | undefined {
  if (text === undefined) return undefined
  const [loadMs = Number.NaN, prefillMs = Number.NaN, tokenMs = Number.NaN, ...rest] = text
    .split('/')
    .map(Number)
  if (rest.length === 0 && [loadMs, prefillMs, tokenMs].every((ms) => ms >= 0)) {
    return { loadMs, prefillMs, tokenMs }
  }
  throw new HearthError('usage', `--fake-timing takes LOAD/PREFILL/TOKEN in ms, not "${text}"`)
}

function msOf(name: string, seconds: string): number {
  return 1000 * numberOption(name, seconds, { above: 0, unit: 'seconds' })
}

function announce(peer: Peer, options: UpCommandOptions, { terminal, data }: CommandContext): void {
  const { addresses, swarm } = peer
  terminal.event({ event: 'ready', peerId: peer.peerId, addresses, swarm })
  terminal.note(`${paint('green', 'hearth is up')}  peer ${peer.peerId}`)
  terminal.note(`  data    ${data.path}`)
  for (const address of addresses) terminal.note(`  listens ${address}`)
  const others = addresses.find((address) => !address.includes('/127.0.0.1/')) ?? addresses[0]
  if (others !== undefined) {
    terminal.note('  others join with')
    terminal.note(
      `    ${paint('bold', `hearth up ${options.lan === true ? '--lan ' : ''}--bootstrap ${others} --swarm ${swarm}`)}`,
    )
  }
  if (options.listen.length === 0 && options.lan !== true) {
    terminal.note('  only this machine can reach it; "hearth up --lan" opens it to the local network')
  }
}

/** Asks the cloud whether it takes this machine away, when the owner said how. */
async function watchNotice(
  peer: Peer,
  { shutdownNotice }: UpCommandOptions,
  context: CommandContext,
): Promise<ShutdownNotice | undefined> {
  if (shutdownNotice === undefined) return undefined
  const notice = new ShutdownNotice(context, shutdownNotice, (deadlineMs) => {
    void peer.drain({ deadlineMs, why: 'this machine is about to be taken away' })
  })
  await notice.start()
  return notice
}

/** Resolves when the peer has left: by a signal, by "hearth drain", or by a notice of the cloud. */
async function untilLeft(
  peer: Peer,
  deadlineMs: number,
  { signal, terminal, clock }: CommandContext,
): Promise<void> {
  const onSignal = (): void => void peer.drain({ deadlineMs, why: 'it was told to stop' })
  if (signal.aborted) onSignal()
  else signal.addEventListener('abort', onSignal, { once: true })
  await aborted(peer.departure.begun)
  terminal.event({ event: 'leaving', why: peer.departure.status?.why ?? '' })
  terminal.note('leaving: work in hand is finished or given back, and what only this peer holds handed over')
  terminal.note('  Ctrl-C once more stops it at once')
  const { onlyHere } = await peer.departure.done
  terminal.event({ event: 'left', onlyHere })
  for (const contextId of onlyHere) {
    terminal.note(
      `  ${paint('yellow', `no other peer has context ${contextId}: jobs on it wait until this one is back`)}`,
    )
  }
  // Whoever follows it with "hearth drain" sees the end.
  if (!signal.aborted) await sleep(clock, LINGER_MS)
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
