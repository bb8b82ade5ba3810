import { appendFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { ControlServer } from '../../api/control-server.ts'
import { sleep } from '../../base/clock.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import { EventLog } from '../../base/log/event-log.ts'
import { numberOption } from '../../base/number-option.ts'
import { withGrace } from '../../context-sharing/replication/core/replication.ts'
import { CHURN_LOG_SCHEMA } from '../../node/home/churn-log.ts'
import type { DataFolder } from '../../node/home/data-folder.ts'
import { DetachedJobs } from '../../node/jobs/detached-jobs.ts'
import { JobAsker } from '../../node/owner/job-asker.ts'
import { OwnedJobs } from '../../node/owner/owned-jobs.ts'
import { loadOwner } from '../../node/owner/owner-key.ts'
import { Peer } from '../../node/peer.ts'
import { tunePeerHeap } from '../../node/peer-heap.ts'
import { ShutdownNotice } from '../../node/shutdown-notice.ts'
import type { EvaluationMode } from '../../tasks/worker/core/worker-state.ts'
import type { DeviceWish } from '../../inference/device/device-choice.ts'
import type { EngineName, FakeTiming } from '../../inference/contract/engine.ts'
import type { CommandContext, CommonOptions } from '../terminal/command-context.ts'
import { readEndpoint, serveEndpoint, type EndpointCommandOptions } from './endpoint.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { watchJoining } from '../terminal/join-watch.ts'
import { type StoreCommandOptions, boundsOf, keepJobsOf, uploadOf } from '../terminal/store-options.ts'
import { paint } from '../terminal/terminal.ts'

/** How long a stopped peer still answers "hearth drain", ms: longer than the interval at which that asks. */
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

/** Lines of the churn log wait at most this long for the disk, ms, and at most this many wait. */
const CHURN_FLUSH_MS = 1_000
const CHURN_WAITING_MAX = 16_384

/** `hearth up`: runs a peer until it is told to stop. */
export async function upCommand(options: UpCommandOptions, context: CommandContext): Promise<number> {
  const { data } = context
  const drainMs = msOf('--drain-deadline', options.drainDeadline)
  const endpoint = readEndpoint(options)
  const unlock = takeFolder(options, data)
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
  const owners = ownedJobs(peer, jobs, context)
  const control = new ControlServer({
    peer,
    jobs,
    ...owners,
    nowMs: () => context.clock.nowMs(),
    log: context.log,
  })
  let stopChurnLog: () => Promise<void> = () => Promise.resolve()
  try {
    await peer.start()
    stopChurnLog = await startChurnLog(peer, options.churnLog, context)
    jobs.start()
    await owners.owned.start()
    data.publishControl(await control.start())
    announce(peer, options, context)
    if (endpoint !== undefined) await serveEndpoint(peer, endpoint, options.name, context)
    const notice = await watchNotice(peer, options, context)
    await untilLeft(peer, drainMs, context).finally(() => notice?.stop())
    return EXIT.ok
  } finally {
    await control.stop()
    await owners.owned.stop()
    await jobs.stop()
    await stopChurnLog()
    await peer.stop()
    unlock()
  }
}

/** Takes the data folder for this process, and remembers the options that are kept in it. */
function takeFolder(options: UpCommandOptions, data: DataFolder): () => void {
  const kept = keepJobsOf(options)
  const unlock = data.lock()
  data.remember(kept)
  return unlock
}

/** The owner's jobs: those here for other machines, and those of other machines from here. */
function ownedJobs(
  peer: Peer,
  jobs: DetachedJobs,
  context: CommandContext,
): { owned: OwnedJobs; elsewhere: JobAsker } {
  const components = { ...context, network: peer.network }
  const elsewhere = new JobAsker({
    ...components,
    members: () => peer.members(),
    owner: () => loadOwner(context.data),
  })
  return { owned: new OwnedJobs({ ...components, jobs, asker: elsewhere }), elsewhere }
}

/** Logs to `file` which peers join and leave; does nothing without a file. Throws `output-unwritable`. */
async function startChurnLog(
  peer: Peer,
  file: string | undefined,
  { clock }: CommandContext,
): Promise<() => Promise<void>> {
  if (file === undefined) return () => Promise.resolve()
  try {
    await appendFile(file, '')
  } catch (cause) {
    throw new HearthError('output-unwritable', `Cannot write the churn log ${file}: ${messageOf(cause)}`, {
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

/** Loopback by default; --lan listens on all networks. Both reuse the last port. */
function listenOn(options: UpCommandOptions, lastPort: number | undefined): string[] {
  if (options.listen.length > 0) return options.listen
  return [`/ip4/${options.lan === true ? '0.0.0.0' : '127.0.0.1'}/tcp/${lastPort ?? 0}`]
}

/** A whole number of at least 1; undefined when the option is absent. */
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
  if (data.memory().isPaused === true)
    terminal.note('  paused: it takes no work until you run "hearth resume"')
  const others = addresses.find((address) => !address.includes('/127.0.0.1/')) ?? addresses[0]
  if (others !== undefined) {
    terminal.note('  to join from another machine, run')
    terminal.note(
      `    ${paint('bold', `hearth up ${options.lan === true ? '--lan ' : ''}--bootstrap ${others} --swarm ${swarm}`)}`,
    )
  }
  if (options.listen.length === 0 && options.lan !== true) {
    terminal.note('  only this machine can reach this peer; "hearth up --lan" opens it to the local network')
  }
}

/** Starts to watch for a shutdown notice of the cloud, when the owner gave a command for it. */
async function watchNotice(
  peer: Peer,
  { shutdownNotice }: UpCommandOptions,
  context: CommandContext,
): Promise<ShutdownNotice | undefined> {
  if (shutdownNotice === undefined) return undefined
  const notice = new ShutdownNotice(context, shutdownNotice, (deadlineMs) => {
    void peer.drain({ deadlineMs, why: 'this machine is about to be reclaimed' })
  })
  await notice.start()
  return notice
}

/** Resolves after a clean shutdown, which a signal, "hearth drain" or a notice of the cloud begins. */
async function untilLeft(
  peer: Peer,
  deadlineMs: number,
  { signal, terminal, clock }: CommandContext,
): Promise<void> {
  const onSignal = (): void => void peer.drain({ deadlineMs, why: 'it was told to stop' })
  if (signal.aborted) onSignal()
  else signal.addEventListener('abort', onSignal, { once: true })
  const stopWatch = watchJoining(peer, { clock, terminal })
  await aborted(peer.departure.begun)
  stopWatch()
  terminal.event({ event: 'leaving', why: peer.departure.status?.why ?? '' })
  terminal.note('Shutting down: finishing or returning work, copying models only this peer has')
  terminal.note('  press Ctrl-C again to stop at once')
  const { onlyHere } = await peer.departure.done
  terminal.event({ event: 'left', onlyHere })
  for (const contextId of onlyHere) {
    terminal.note(
      `  ${paint('yellow', `No other peer has context ${contextId}. Jobs that need it wait until you run "hearth up" here again`)}`,
    )
  }
  // "hearth drain" asks once more, and must get the final answer.
  if (!signal.aborted) await sleep(clock, LINGER_MS)
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
