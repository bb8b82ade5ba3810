import { ControlServer } from '../api/control-server.ts'
import { HearthError } from '../base/errors.ts'
import type { Cancel } from '../base/clock.ts'
import { withGrace } from '../context-sharing/replication-core.ts'
import { DetachedJobs } from '../node/detached-jobs.ts'
import { Peer } from '../node/peer.ts'
import type { EvaluationMode } from '../tasks/worker-state-core.ts'
import type { EngineName, FakeTiming } from '../inference/engine.ts'
import type { CommandContext, CommonOptions } from './command-context.ts'
import { readEndpoint, serveEndpoint, type EndpointCommandOptions } from './endpoint.ts'
import { EXIT } from './exit-codes.ts'
import { paint } from './terminal.ts'

export interface UpCommandOptions extends CommonOptions, EndpointCommandOptions {
  listen: string[]
  announce: string[]
  lan?: boolean
  directLane: boolean
  bootstrap: string[]
  swarm?: string
  engine?: EngineName
  slots?: string
  threads?: string
  evaluate?: EvaluationMode
  fakeTiming?: string
  replicate: boolean
  repairAfter: string
}

/** `hearth up`: runs a peer until it is told to stop. */
export async function upCommand(options: UpCommandOptions, context: CommandContext): Promise<number> {
  const { data, signal, terminal } = context
  const endpoint = readEndpoint(options)
  const unlock = data.lock()
  const peer = await Peer.createServing(context, {
    data,
    listen: listenOn(options, data.memory().port),
    announce: options.announce,
    directLane: options.directLane,
    bootstrap: options.bootstrap,
    swarm: options.swarm,
    evaluate: options.evaluate,
    engine: {
      engine: options.engine,
      slots: wholeNumber('--slots', options.slots),
      threads: wholeNumber('--threads', options.threads),
      endpoint,
      fake: fakeTiming(options.fakeTiming),
    },
    replication: {
      ...withGrace(1000 * positive('--repair-after', options.repairAfter)),
      isTaking: options.replicate,
    },
  })
  const jobs = new DetachedJobs(context, { data, swarm: peer.swarm, bootstrap: () => peer.addresses })
  const control = new ControlServer({ peer, jobs, log: context.log })
  try {
    await peer.start()
    jobs.start()
    data.publishControl(await control.start())
    announce(peer, options, context)
    if (endpoint !== undefined) await serveEndpoint(peer, endpoint, options.name, context)
    await aborted(signal)
    terminal.note('stopping')
    return EXIT.ok
  } finally {
    await control.stop()
    await jobs.stop()
    await peer.stop()
    unlock()
  }
}

/** Loopback unless told otherwise; --lan opens the peer to the network it is on, on the port it had last. */
function listenOn(options: UpCommandOptions, lastPort: number | undefined): string[] {
  if (options.listen.length > 0) return options.listen
  return [`/ip4/${options.lan === true ? '0.0.0.0' : '127.0.0.1'}/tcp/${lastPort ?? 0}`]
}

function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  throw new HearthError('usage', `${name} takes a whole number from 1, not "${text}"`)
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

function positive(name: string, text: string): number {
  const value = Number(text)
  if (value > 0 && Number.isFinite(value)) return value
  throw new HearthError('usage', `${name} takes a number above 0, not "${text}"`)
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

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done: Cancel = () => resolve()
    if (signal.aborted) done()
    else signal.addEventListener('abort', done, { once: true })
  })
}
