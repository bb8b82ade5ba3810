// A submitter in this process and task peers in processes of their own, over real libp2p on loopback, with
// the real coordinator and the real journal on disk.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger } from '../../src/base/logger.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemRandom } from '../../src/base/system-random.ts'
import type { EventSink } from '../../src/base/event-log.ts'
import { temporaryIdentity } from '../../src/node/identity.ts'
import { Libp2pStack } from '../../src/node/libp2p-stack.ts'
import { Coordinator, type CandidateSource } from '../../src/tasks/coordinator.ts'
import { Journal } from '../../src/tasks/journal.ts'

export interface TaskPeerOptions {
  /** How long the engine takes for a request, ms; 0 answers at once. */
  engineMs: number
  slots: number
  /** Requests that it wants at once, at most; its slots at least. */
  windowMax?: number
}

/** Of one job. */
export interface JobFigures {
  seconds: number
  /** Processor time of the submitter and of all peers, seconds. */
  submitterSeconds: number
  peersSeconds: number
  /** What the results added to the journal, and their bodies alone, bytes. */
  journalBytes: number
  bodyBytes: number
}

const PEER = new URL('task-peer.ts', import.meta.url)

export class TaskSwarm {
  readonly #children: ChildProcess[]
  readonly #peers: string[]
  readonly #stack: Libp2pStack
  readonly folder: string

  static async start(peers: readonly TaskPeerOptions[]): Promise<TaskSwarm> {
    const children = peers.map(({ engineMs, slots, windowMax = 4_096 }) => {
      const options = { ENGINE_MS: engineMs, SLOTS: slots, WINDOW_MAX: windowMax }
      const texts = Object.entries(options).map(([name, value]) => [name, String(value)])
      return fork(PEER, { env: { ...process.env, ...Object.fromEntries(texts) } })
    })
    const stack = await Libp2pStack.create(
      { identity: await temporaryIdentity(), clock: systemClock, log: silentLogger },
      { swarm: 'bench', listen: ['/ip4/127.0.0.1/tcp/0'], mdns: false },
    )
    await stack.start()
    const names: string[] = []
    for (const child of children) {
      const [{ address, peer }] = (await once(child, 'message')) as [{ address: string; peer: string }]
      await stack.members.meet(address, { deadlineMs: 10_000 })
      names.push(peer)
    }
    return new TaskSwarm(children, names, stack)
  }

  private constructor(children: ChildProcess[], peers: string[], stack: Libp2pStack) {
    this.#children = children
    this.#peers = peers
    this.#stack = stack
    this.folder = mkdtempSync(join(tmpdir(), 'hearth-bench-'))
  }

  /** A journal of requests of about 200 bytes each, as a batch file gives. */
  async makeJournal(name: string, requests: number): Promise<Journal> {
    async function* lines() {
      for (let n = 0; n < requests; n += 1) {
        const prompt = `Claim ${n}: water boils at ${n % 200} degrees at sea level, says the book.\nVerdict:`
        const body = JSON.stringify({ model: 'facts', prompt, max_tokens: 1, temperature: 0 })
        yield { line: n + 1, customId: `request-${n}`, url: '/v1/completions', body }
      }
    }
    return await Journal.create(
      join(this.folder, `${name}.sqlite`),
      {
        jobId: name,
        context: 'bench',
        contextId: 'bench',
        inputPath: '',
        inputSha256: '',
        outputPath: '',
        createdAtMs: 0,
        isDetached: false,
      },
      lines(),
    )
  }

  /** Runs the job of a journal to its end. */
  async run(journal: Journal, events?: EventSink): Promise<JobFigures> {
    const peersBefore = await this.#peersSeconds()
    const bytesBefore = this.#bytesOf(journal)
    const before = process.cpuUsage()
    const beganMs = performance.now()
    await new Coordinator({
      network: this.#stack.network,
      journal,
      candidates: this.#candidates(),
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
      events,
    }).run()
    const seconds = (performance.now() - beganMs) / 1_000
    const { user, system } = process.cpuUsage(before)
    return {
      seconds,
      submitterSeconds: (user + system) / 1e6,
      peersSeconds: (await this.#peersSeconds()) - peersBefore,
      journalBytes: this.#bytesOf(journal) - bytesBefore,
      bodyBytes: journal.lines().reduce((sum, { body }) => sum + Buffer.byteLength(body), 0),
    }
  }

  /** Without what its log has not handed on yet: the same few megabytes for any job. */
  #bytesOf(journal: Journal): number {
    return statSync(join(this.folder, `${journal.job.jobId}.sqlite`)).size
  }

  async stop(): Promise<void> {
    for (const child of this.#children) child.disconnect()
    await Promise.all(this.#children.map((child) => once(child, 'exit')))
    await this.#stack.stop()
    rmSync(this.folder, { recursive: true })
  }

  #candidates(): CandidateSource {
    const candidates = this.#peers.map((peer) => ({ peer, tier: 'warm' as const, accepts: true }))
    return {
      async *find() {
        yield candidates
      },
      watch: () => () => {},
    }
  }

  async #peersSeconds(): Promise<number> {
    let seconds = 0
    for (const child of this.#children) {
      child.send('cpu')
      const [{ cpuUs }] = (await once(child, 'message')) as [{ cpuUs: NodeJS.CpuUsage }]
      seconds += (cpuUs.user + cpuUs.system) / 1e6
    }
    return seconds
  }
}
