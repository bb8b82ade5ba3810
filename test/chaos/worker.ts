import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { sleep } from '../../src/base/clock.ts'
import { askPeer } from '../../src/api/control-client.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { HearthProcess } from '../../src/cli/terminal/child-process.ts'
import { DataFolder } from '../../src/node/home/data-folder.ts'
import type { PeerReport } from '../../src/node/status/peer-status.ts'
import { Gate } from './gate.ts'

export interface WorkerSetup {
  dataPath: string
  swarm: string
  /** Where it joins; the first of a swarm joins nobody. */
  bootstrap: readonly string[]
  slots: number
  /** How long its engine takes for a request, ms. */
  requestMs: number
}

const READY_MS = 60_000
const PAGE_BYTES = 4_096

/** A `hearth up` that others reach only through a gate, and that comes back whenever it was ended. */
export class ChaosWorker {
  readonly #setup: WorkerSetup
  readonly #port: number
  readonly #gate: Gate
  #process: HearthProcess | undefined
  #peerId = ''
  /** Something happens to it now, or it is on its way back. */
  isDisturbed = false

  static async create(setup: WorkerSetup): Promise<ChaosWorker> {
    const port = await freePort()
    return new ChaosWorker(setup, port, await Gate.open(port))
  }

  private constructor(setup: WorkerSetup, port: number, gate: Gate) {
    this.#setup = setup
    this.#port = port
    this.#gate = gate
  }

  /** Where others find it. */
  get address(): string {
    return `/ip4/127.0.0.1/tcp/${this.#gate.port}/p2p/${this.#peerId}`
  }

  async start(): Promise<void> {
    const { dataPath, swarm, bootstrap, slots, requestMs } = this.#setup
    this.#process = new HearthProcess([
      'up',
      `--data=${dataPath}`,
      `--swarm=${swarm}`,
      `--listen=/ip4/127.0.0.1/tcp/${this.#port}`,
      `--announce=/ip4/127.0.0.1/tcp/${this.#gate.port}`,
      ...bootstrap.map((address) => `--bootstrap=${address}`),
      '--engine=fake',
      `--fake-timing=0/${requestMs}/0`,
      `--slots=${slots}`,
    ])
    this.#peerId = String((await this.#process.event('ready', READY_MS))['peerId'])
  }

  /** Ends it and starts it again after a while; false, and nothing is done, when it is disturbed already. */
  async endFor(signal: 'SIGKILL' | 'SIGTERM', awayMs: number): Promise<boolean> {
    return await this.#disturb(async (process) => {
      process.kill(signal)
      await process.exited
      await sleep(systemClock, awayMs)
      await this.start()
    })
  }

  async freezeFor(ms: number): Promise<boolean> {
    return await this.#disturb(async (process) => {
      process.kill('SIGSTOP')
      await sleep(systemClock, ms)
      process.kill('SIGCONT')
    })
  }

  async partitionFor(ms: number): Promise<boolean> {
    return await this.#disturb(async () => {
      this.#gate.shut()
      await sleep(systemClock, ms)
      this.#gate.open()
    })
  }

  async reset(): Promise<boolean> {
    return await this.#disturb(() => Promise.resolve(this.#gate.reset()))
  }

  /** Members that it is connected to. */
  async connectedPeers(): Promise<number> {
    const access = new DataFolder(this.#setup.dataPath).control()
    if (access === undefined) return 0
    return (await askPeer<PeerReport>(access, '/v0/status')).connectedPeers
  }

  /** Its resident memory, bytes; Linux only, elsewhere 0. */
  residentBytes(): number {
    try {
      const pages = readFileSync(`/proc/${this.#process?.pid}/statm`, 'utf8').split(' ')[1]
      return Number(pages) * PAGE_BYTES
    } catch {
      return 0
    }
  }

  async stop(): Promise<void> {
    await this.#process?.stop(10_000)
    await this.#gate.close()
  }

  async #disturb(work: (process: HearthProcess) => Promise<void>): Promise<boolean> {
    if (this.#process === undefined || this.isDisturbed) return false
    this.isDisturbed = true
    try {
      await work(this.#process)
      return true
    } finally {
      this.isDisturbed = false
    }
  }
}

/** A port that nobody listens on now; its worker takes it again after each end. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
