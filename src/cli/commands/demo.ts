import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { finished } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { askPeer } from '../../api/control-client.ts'
import { HearthError } from '../../base/errors.ts'
import { numberOption } from '../../base/number-option.ts'
import { DataFolder } from '../../node/home/data-folder.ts'
import type { PeerStatus } from '../../node/status/peer-status.ts'
import { HearthProcess, type HearthEvent } from '../terminal/child-process.ts'
import type { CommandContext, CommonOptions } from '../terminal/command-context.ts'
import { accuracyOf, answerAlone, countEqual, readAnswers } from './demo-answers.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { formatBytes, formatDuration, paint, shortPeer } from '../terminal/terminal.ts'

export interface DemoOptions extends CommonOptions {
  requests: string
  keep?: boolean
}

const MODEL = fileURLToPath(new URL('../../../models/facts', import.meta.url))
const CLAIMS = join(MODEL, 'claims-3000.jsonl')
const LABELS = join(MODEL, 'claims-3000.labels.jsonl')
const LISTEN = '/ip4/127.0.0.1/tcp/0'
const PEERS = 4
/** Few, because four peers share the cores of this machine, and the job should last long enough to watch. */
const SLOTS = '2'
/** A machine with two busy cores takes half a minute to start four peers. */
const READY_MS = 120_000
const JOB_MS = 600_000
const STOP_MS = 5_000

interface DemoPeer {
  name: string
  data: DataFolder
  process: HearthProcess
  peerId: string
  address: string
  swarm: string
}

/** The figures of the demo: the last line of `npm start -- --json`. */
interface DemoSummary extends Record<string, unknown> {
  requests: number
  committed: number
  failed: number
  lost: number
  duplicated: number
  accuracy: number
  /** Answers identical to those of one engine without peers. */
  sameAsAlone: number
  workersKilled: number
  /** Peers that joined while the job ran, and how many results they returned. */
  workersJoined: number
  resultsOfJoined: number
  tokensPerSecond: number
  wallMs: number
  output: string
}

/**
 * `hearth demo`: verifies claims on four peer processes on loopback; only the first one has the model.
 * Kills one peer after a third of the job, and adds a new one after half. The peers' data folders are in a new folder
 * under `--data`, or under the system's temporary one.
 */
export async function demoCommand(options: DemoOptions, context: CommandContext): Promise<number> {
  const requests = numberOption('--requests', options.requests, { isWhole: true, least: 1 })
  const parent = options.data ?? tmpdir()
  await mkdir(parent, { recursive: true })
  const folder = await mkdtemp(join(parent, 'hearth-demo-'))
  const demo = new Demo(context, folder, requests)
  try {
    const summary = await demo.run()
    return summary.lost === 0 && summary.duplicated === 0 && summary.failed === 0 ? EXIT.ok : EXIT.failedLines
  } finally {
    await demo.stop()
    if (options.keep !== true && !demo.hasOutput) await rm(folder, { recursive: true, force: true })
  }
}

class Demo {
  readonly #context: CommandContext
  readonly #folder: string
  readonly #requests: number
  readonly #peers: DemoPeer[] = []
  /** Includes peers that are not ready. */
  readonly #processes: HearthProcess[] = []
  /** Model bytes by receiving peer and source; read before a peer is killed, or at the end. */
  readonly #fetched = new Map<string, { peer: string; bytes: number }[]>()
  #submit: HearthProcess | undefined
  #startedAtMs = 0
  hasOutput = false

  constructor(context: CommandContext, folder: string, requests: number) {
    this.#context = context
    this.#folder = folder
    this.#requests = requests
  }

  async run(): Promise<DemoSummary> {
    const { clock } = this.#context
    this.#startedAtMs = clock.nowMs()
    const input = await this.#takeClaims()
    await this.#startSwarm()
    const job = await this.#runJob(input)
    const summary = await this.#judge(input, job)
    this.#context.terminal.event({ event: 'demo-summary', ...summary })
    this.#tell(summary)
    return summary
  }

  async stop(): Promise<void> {
    this.#submit?.kill('SIGKILL')
    await Promise.all(this.#processes.map((child) => child.stop(STOP_MS)))
  }

  async #takeClaims(): Promise<string> {
    const path = join(this.#folder, 'claims.jsonl')
    const out = createWriteStream(path)
    let taken = 0
    for await (const line of createInterface(createReadStream(CLAIMS))) {
      if (taken >= this.#requests) break
      out.write(`${line}\n`)
      taken += 1
    }
    out.end()
    await finished(out)
    return path
  }

  async #startSwarm(): Promise<void> {
    this.#say(`Starting ${PEERS} peers; only the first one has the model`)
    const first = new DataFolder(join(this.#folder, 'peer-1'))
    const adding = new HearthProcess(['context', 'add', MODEL, '--name', 'facts', '--data', first.path])
    const added = await adding.event('context-added', READY_MS)
    this.#say(`  context ${String(added['contextId'])} (${formatBytes(Number(added['bytes']))})`)
    const seed = await this.#startPeer('peer-1')
    await Promise.all(
      Array.from({ length: PEERS - 1 }, (_, index) => this.#startPeer(`peer-${index + 2}`, seed)),
    )
  }

  async #startPeer(name: string, seed?: DemoPeer): Promise<DemoPeer> {
    const data = new DataFolder(join(this.#folder, name))
    const joining = seed === undefined ? [] : ['--bootstrap', seed.address, '--swarm', seed.swarm]
    const child = new HearthProcess([
      'up',
      '--data',
      data.path,
      '--listen',
      LISTEN,
      '--slots',
      SLOTS,
      ...joining,
    ])
    this.#processes.push(child)
    const ready = await child.event('ready', READY_MS)
    const peer: DemoPeer = {
      name,
      data,
      process: child,
      peerId: String(ready['peerId']),
      address: String((ready['addresses'] as string[])[0]),
      swarm: String(ready['swarm']),
    }
    this.#peers.push(peer)
    this.#say(`  ${name} is up: ${shortPeer(peer.peerId)}, process ${child.pid}`)
    return peer
  }

  /** Submits the job, kills a worker after a third of it, and adds a new one after half. */
  async #runJob(
    input: string,
  ): Promise<{ event: HearthEvent; killed: number; joined: DemoPeer | undefined }> {
    const [seed] = this.#peers
    if (seed === undefined) throw new HearthError('internal', 'no peer was started')
    const output = join(this.#folder, 'results.jsonl')
    this.#say(`Submitting ${this.#requests} claims`)
    const { address, swarm } = seed
    const data = join(this.#folder, 'submitter')
    const joining = ['--bootstrap', address, '--swarm', swarm, '--data', data]
    const submit = new HearthProcess(['submit', input, '--context', 'facts', '-o', output, ...joining])
    this.#submit = submit
    let killed = 0
    let late: Promise<DemoPeer> | undefined
    let joined: DemoPeer | undefined
    submit.onEvent((event) => {
      if (event.event !== 'progress') return
      const committed = Number(event['committed'])
      const rate = `${String(event['tokensPerSecond'])} tokens/s`
      this.#context.terminal.redraw([`  ${committed} of ${this.#requests} done, ${rate}`])
      if (killed === 0 && committed >= this.#requests / 3) {
        killed += 1
        void this.#killOne(committed)
      }
      if (late === undefined && committed >= this.#requests / 2) {
        this.#say(`${committed} done: a new peer joins`)
        late = this.#startPeer(`peer-${PEERS + 1}`, seed)
        void late.then((peer) => (joined = peer)).catch(() => {})
      }
    })
    const event = await submit.event('job-summary', JOB_MS)
    this.hasOutput = true
    const joinedInTime = joined
    await late
    return { event, killed, joined: joinedInTime }
  }

  async #killOne(committed: number): Promise<void> {
    const victim = this.#peers.find(({ name }) => name === `peer-${PEERS}`)
    if (victim === undefined) return
    this.#say(
      paint('red', `${committed} done: killing ${victim.name} (process ${victim.process.pid}) with SIGKILL`),
    )
    // Read first how much it fetched, because nobody can tell afterwards.
    await this.#readFetched(victim)
    victim.process.kill('SIGKILL')
  }

  async #readFetched(peer: DemoPeer): Promise<void> {
    const access = peer.data.control()
    if (access === undefined) return
    try {
      const status = await askPeer<PeerStatus>(access, '/v0/status')
      this.#fetched.set(
        peer.peerId,
        status.contexts.flatMap((context) => context.fetchedFrom),
      )
    } catch {
      // The peer was killed or stopped meanwhile, so its transfers are unknown.
    }
  }

  async #judge(
    input: string,
    { event, killed, joined }: { event: HearthEvent; killed: number; joined: DemoPeer | undefined },
  ): Promise<DemoSummary> {
    await Promise.all(this.#peers.map((peer) => this.#readFetched(peer)))
    const output = String(event['output'])
    const answers = await readAnswers(output)
    const wallMs = Math.round(this.#context.clock.nowMs() - this.#startedAtMs)
    this.#say('Running the same file on one engine without peers, to compare the answers')
    const alone = await answerAlone(MODEL, input)
    const peers = event['peers'] as { peer: string; results: number }[]
    const jobMs = Number(event['wallMs'])
    return {
      requests: this.#requests,
      committed: Number(event['committed']),
      failed: Number(event['failed']),
      lost: this.#requests - answers.byId.size,
      duplicated: answers.lines - answers.byId.size,
      accuracy: await accuracyOf(answers, LABELS),
      sameAsAlone: countEqual(alone, answers),
      workersKilled: killed,
      workersJoined: joined === undefined ? 0 : 1,
      resultsOfJoined: peers.find(({ peer }) => peer === joined?.peerId)?.results ?? 0,
      tokensPerSecond: Math.round((Number(event['completionTokens']) * 1000) / jobMs),
      jobMs,
      wallMs,
      resultsByPeer: peers.map(({ peer, results }) => ({ peer: this.#nameOf(peer), results })),
      bytesFetched: [...this.#fetched].flatMap(([to, sources]) =>
        sources.map(({ peer, bytes }) => ({ to: this.#nameOf(to), from: this.#nameOf(peer), bytes })),
      ),
      output,
    }
  }

  #nameOf(peerId: string): string {
    return this.#peers.find((peer) => peer.peerId === peerId)?.name ?? shortPeer(peerId)
  }

  #tell(summary: DemoSummary): void {
    const results = summary['resultsByPeer'] as { peer: string; results: number }[]
    const fetched = summary['bytesFetched'] as { to: string; from: string; bytes: number }[]
    const share = (100 * summary.accuracy).toFixed(1)
    this.#say('')
    this.#say(
      `${paint('green', 'done')}: ${summary.committed} of ${summary.requests} claims answered in ${formatDuration(Number(summary['jobMs']))}, ${summary.tokensPerSecond} tokens/s`,
    )
    this.#say(`  lost ${summary.lost}, repeated ${summary.duplicated}, failed ${summary.failed}`)
    this.#say(
      `  accuracy ${share} %; ${summary.sameAsAlone} of ${summary.requests} answers are identical to those of one engine alone`,
    )
    this.#say(`  results by peer: ${results.map(({ peer, results }) => `${peer} ${results}`).join(', ')}`)
    for (const { to, from, bytes } of fetched) this.#say(`  ${to} fetched ${formatBytes(bytes)} from ${from}`)
    this.#say(`  results: ${summary.output}`)
  }

  #say(line: string): void {
    this.#context.terminal.note(line)
  }
}
