import { execFileSync } from 'node:child_process'
import { systemClock } from '../../src/base/system-clock.ts'
import { HearthProcess } from '../../src/cli/terminal/child-process.ts'
import type { ChurnEvent } from '../../sim/churn/churn-events.ts'
import type { Scenario } from '../../sim/scenarios/schema.ts'
import type { PlannedPeer } from './plan.ts'

const READY_MS = 120_000

export interface LiveSwarm {
  scenario: Scenario
  swarmId: string
  /** Where a peer that starts can join. */
  bootstrap: () => string[]
}

/** A time that it was started and came up; by the wall clock. */
export interface LiveStart {
  peerId: string
  startedAtMs: number
  readyAtMs: number
}

/** One peer of a scenario as a `hearth up` process, to which happens what the scenario says. */
export class LivePeer {
  readonly plan: PlannedPeer
  readonly starts: LiveStart[] = []
  readonly #swarm: LiveSwarm
  readonly #path: string
  /** Wiped disks, kept to be looked at in the end. */
  #wipes = 0
  #process: HearthProcess | undefined
  #frozen: number[] = []
  /** While it runs, and is not about to leave. */
  address: string | undefined

  constructor(plan: PlannedPeer, swarm: LiveSwarm, path: string) {
    this.plan = plan
    this.#swarm = swarm
    this.#path = path
  }

  /** Does at once what a churn event says; resolves when it is done. */
  async befall(event: ChurnEvent): Promise<void> {
    switch (event.kind) {
      case 'up':
        return await this.up(event.isDiskKept)
      case 'notice':
        this.address = undefined
        return this.#process?.kill('SIGTERM')
      case 'down':
        return await this.down()
      case 'freeze':
        return this.#freeze()
      case 'thaw':
        return this.#thaw()
    }
  }

  async up(isDiskKept: boolean): Promise<void> {
    if (!isDiskKept && this.starts.length > 0) this.#wipes += 1
    const startedAtMs = systemClock.wallMs()
    const child = new HearthProcess(this.#parameters())
    this.#process = child
    // One that is killed before it is ready is no failure of the run.
    const ready = await child.event('ready', READY_MS).catch(() => undefined)
    if (ready === undefined || this.#process !== child) return
    this.starts.push({ peerId: String(ready['peerId']), startedAtMs, readyAtMs: systemClock.wallMs() })
    this.address = String((ready['addresses'] as string[])[0])
  }

  /** The machine is gone. */
  async down(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    this.address = undefined
    child?.kill('SIGKILL')
    this.#thaw()
    await child?.exited
  }

  /** All that came to its disks, wiped ones too, bytes. Only while it is down. */
  async fetchedBytes(contextId: string): Promise<number> {
    if (this.plan.group.holds || this.starts.length === 0) return 0
    let bytes = 0
    for (let disk = 0; disk <= this.#wipes; disk += 1) bytes += await heldBytes(this.#disk(disk), contextId)
    return bytes
  }

  /** Its data folder when it starts for the first time. */
  get firstDisk(): string {
    return this.#disk(0)
  }

  #disk(number: number): string {
    return `${this.#path}-${number}`
  }

  /** With its engine host: a machine that sleeps, sleeps whole. */
  #freeze(): void {
    const { pid } = this.#process ?? {}
    if (pid === undefined) return
    this.#frozen = [pid, ...childrenOf(pid)]
    for (const one of this.#frozen) process.kill(one, 'SIGSTOP')
  }

  #thaw(): void {
    for (const one of this.#frozen.splice(0)) {
      try {
        process.kill(one, 'SIGCONT')
      } catch {
        // It was killed meanwhile.
      }
    }
  }

  #parameters(): string[] {
    const { scenario, swarmId, bootstrap } = this.#swarm
    const { group, device, events } = this.plan
    const uplinkMbps = group.uploadCapMbps ?? device.upMbps
    const notice = events.find((event) => event.kind === 'notice')
    const drainS = notice?.kind === 'notice' ? (notice.downAtMs - notice.atMs) / 1000 : 10
    const requestS = device.inferenceS * scenario.inferencesPerRequest
    return [
      'up',
      `--data=${this.#disk(this.#wipes)}`,
      `--swarm=${swarmId}`,
      '--listen=/ip4/127.0.0.1/tcp/0',
      ...bootstrap().map((address) => `--bootstrap=${address}`),
      '--engine=fake',
      `--fake-timing=${1000 * device.loadS}/${1000 * requestS}/0`,
      `--slots=${device.slots}`,
      `--upload-rate=${(1e6 * uplinkMbps) / 8}B`,
      `--drain-deadline=${drainS}`,
      // Who works fetches what it needs; nobody else is to.
      '--no-replicate',
    ]
  }
}

/** The bytes of one context in a data folder, complete or not. */
async function heldBytes(data: string, contextId: string): Promise<number> {
  const list = new HearthProcess(['context', 'ls', `--data=${data}`])
  await list.exited
  const contexts = list.lastLine as { contextId: string; share: number; bytes: number }[]
  const held = contexts.find((context) => context.contextId === contextId)
  return held === undefined ? 0 : Math.round(held.share * held.bytes)
}

function childrenOf(pid: number): number[] {
  try {
    const words = execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' }).split('\n')
    return words.filter((word) => word !== '').map(Number)
  } catch {
    return []
  }
}
