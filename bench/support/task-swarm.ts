// A submitter in this process and task peers in processes of their own, over real libp2p on loopback, with
// the real coordinator and the real journal on disk.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { silentLogger } from '../../src/base/log/logger.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemRandom } from '../../src/base/system-random.ts'
import type { EventSink } from '../../src/base/log/event-log.ts'
import { temporaryIdentity } from '../../src/node/home/identity.ts'
import { Libp2pStack } from '../../src/node/network-stack.ts'
import type { Candidate } from '../../src/tasks/submitter/core/candidate.ts'
import { Coordinator, type CandidateSource } from '../../src/tasks/submitter/coordinator.ts'
import { Journal } from '../../src/tasks/journal/journal.ts'
import { newFolder } from '../../testing/folders/new-folder.ts'

export interface TaskPeerOptions {
  /** How long the engine takes for a request, ms; 0 answers at once. */
  engineMs: number
  slots: number
  /** Requests that it wants at once, at most; its slots at least. */
  windowMax?: number
}

/** The figures of one job. */
export interface JobFigures {
  seconds: number
  /** Processor time of the submitter and of all peers, seconds. */
  submitterSeconds: number
  peersSeconds: number
  /** The growth of the journal by results, and the size of their bodies alone, bytes. */
  journalBytes: number
  bodyBytes: number
}

const PEER = new URL('task-peer.ts', import.meta.url)

interface TaskPeer extends TaskPeerOptions {
  child: ChildProcess
  peer: string
}

export class TaskSwarm {
  readonly #peers: TaskPeer[] = []
  readonly #stack: Libp2pStack
  readonly #listeners = new Set<(candidate: Candidate) => void>()
  readonly folder: string

  static async start(peers: readonly TaskPeerOptions[]): Promise<TaskSwarm> {
    const stack = await Libp2pStack.create(
      { identity: await temporaryIdentity(), clock: systemClock, log: silentLogger },
      { swarm: 'bench', listen: ['/ip4/127.0.0.1/tcp/0'], mdns: false },
    )
    await stack.start()
    const swarm = new TaskSwarm(stack)
    await Promise.all(peers.map((options) => swarm.add(options)))
    return swarm
  }

  private constructor(stack: Libp2pStack) {
    this.#stack = stack
    this.folder = newFolder('bench')
  }

  /** The peers that are there, in the order in which they came. */
  get peers(): readonly Readonly<TaskPeerOptions & { peer: string }>[] {
    return this.#peers
  }

  /** One more peer; it works on the job that runs as soon as this resolves. */
  async add(options: TaskPeerOptions): Promise<void> {
    const { engineMs, slots, windowMax = 4_096 } = options
    const texts = { ENGINE_MS: String(engineMs), SLOTS: String(slots), WINDOW_MAX: String(windowMax) }
    const child = fork(PEER, { env: { ...process.env, ...texts } })
    const [{ address, peer }] = (await once(child, 'message')) as [{ address: string; peer: string }]
    await this.#stack.members.meet(address, { deadlineMs: 10_000 })
    this.#peers.push({ ...options, child, peer })
    for (const listener of this.#listeners) listener(candidateOf(peer))
  }

  /** Kills a peer without notice. */
  kill(peer: string): void {
    const index = this.#peers.findIndex((other) => other.peer === peer)
    const [gone] = this.#peers.splice(index, 1)
    gone?.child.kill('SIGKILL')
  }

  /** Nothing more is heard of a peer, and its connections stay. */
  freeze(peer: string): void {
    this.#peers.find((other) => other.peer === peer)?.child.kill('SIGSTOP')
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
    const seconds = await this.secondsOf(journal, events)
    const { user, system } = process.cpuUsage(before)
    return {
      seconds,
      submitterSeconds: (user + system) / 1e6,
      peersSeconds: (await this.#peersSeconds()) - peersBefore,
      journalBytes: this.#bytesOf(journal) - bytesBefore,
      bodyBytes: journal.lines().reduce((sum, { body }) => sum + Buffer.byteLength(body), 0),
    }
  }

  /** Runs the job of a journal to its end, and says how long that took. */
  async secondsOf(journal: Journal, events?: EventSink): Promise<number> {
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
    return (performance.now() - beganMs) / 1_000
  }

  /** Without what its log has not handed on yet: the same few megabytes for any job. */
  #bytesOf(journal: Journal): number {
    return statSync(join(this.folder, `${journal.job.jobId}.sqlite`)).size
  }

  async stop(): Promise<void> {
    for (const { child } of this.#peers) {
      child.kill('SIGCONT')
      child.disconnect()
    }
    await Promise.all(this.#peers.map(({ child }) => once(child, 'exit')))
    await this.#stack.stop()
    rmSync(this.folder, { recursive: true })
  }

  #candidates(): CandidateSource {
    const peers = this.#peers
    return {
      async *find() {
        yield peers.map(({ peer }) => candidateOf(peer))
      },
      watch: (_contextId, listener) => {
        this.#listeners.add(listener)
        return () => this.#listeners.delete(listener)
      },
    }
  }

  async #peersSeconds(): Promise<number> {
    let seconds = 0
    for (const { child } of this.#peers) {
      child.send('cpu')
      const [{ cpuUs }] = (await once(child, 'message')) as [{ cpuUs: NodeJS.CpuUsage }]
      seconds += (cpuUs.user + cpuUs.system) / 1e6
    }
    return seconds
  }
}

function candidateOf(peer: string): Candidate {
  return { peer, tier: 'warm', accepts: true }
}
