// Real `hearth` processes for the paper's experiment: peers in one evaluation mode, and one beside them that has
// the model and takes no work. What happened is read from the event log of each job.
import { createReadStream, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { sleep } from '../../src/base/clock.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import type { EvaluationMode } from '../../src/tasks/worker/core/worker-state.ts'
import { FACTS, TestSwarm, type RunningPeer } from '../../testing/process-swarm.ts'

export type { EvaluationMode }

/** The outcome of a job with peers killed one after the other. */
export interface Drained {
  committed: number
  /** Requests that were out to peers when they were killed. */
  lost: number
}

interface LoggedLine {
  t: number
  kind: string
  peer?: string
  n?: number
  leases?: [number, number][]
}

const CLAIMS = join(FACTS, 'claims-3000.jsonl')
/** Every answer has so many tokens, so that a request is work enough to be compared with what goes on around it. */
const ANSWER = { max_tokens: 48, ignore_eos: true }
const JOB_MS_MAX = 3_600_000
const END_MS = 20_000
/** More than can be done while a swarm is drained. */
const DRAIN_REQUESTS = 120_000
/** After the last kill: time for the submitter to notice, ms. */
const NOTICE_MS = 1_500

export class EvaluationSwarm {
  readonly #swarm: TestSwarm
  readonly #peers: RunningPeer[]
  #jobs = 0

  static async start(peers: number, mode: EvaluationMode): Promise<EvaluationSwarm> {
    const swarm = await TestSwarm.create()
    await swarm.importFacts('origin')
    const origin = await swarm.up('origin')
    await swarm.hearth('pause', '--data', origin.data.path).exited
    const names = Array.from({ length: peers }, (_, index) => `peer-${index}`)
    const running = await Promise.all(
      names.map((name) => swarm.up(name, '--evaluate', mode, '--slots', '1', '--threads', '1')),
    )
    return new EvaluationSwarm(swarm, running)
  }

  private constructor(swarm: TestSwarm, peers: RunningPeer[]) {
    this.#swarm = swarm
    this.#peers = peers
  }

  async stop(): Promise<void> {
    await this.#swarm.dispose()
  }

  /** From the first lease of a job to its end. Throws when a request had no answer. */
  async secondsOf(requests: number, leaseSize: number): Promise<number> {
    const name = `job-${(this.#jobs += 1)}`
    const input = await this.#writeClaims(name, requests, ANSWER)
    const size = String(leaseSize)
    const submit = this.#swarm.submit(input, this.#swarm.path(`${name}.out`), '--lease-size', size)
    const summary = await submit.event('job-summary', JOB_MS_MAX)
    await submit.exited
    if (summary['committed'] !== requests || summary['failed'] !== 0)
      throw new Error(`not all was answered: ${JSON.stringify(summary)}`)
    const lines = this.#eventsOf(String(summary['jobId']))
    const first = lines.find(({ kind }) => kind === 'lease')?.t ?? Number.NaN
    const last = lines.find(({ kind }) => kind === 'finish')?.t ?? Number.NaN
    return (last - first) / 1_000
  }

  /** Kills one peer after the other while a job runs that none of them can finish. */
  async drain(leaseSize: number | undefined, beforeMs: number, everyMs: number): Promise<Drained> {
    const input = await this.#writeClaims('drain', DRAIN_REQUESTS, {})
    const size = leaseSize === undefined ? [] : ['--lease-size', String(leaseSize)]
    const submit = this.#swarm.submit(input, this.#swarm.path('drain.out'), ...size)
    const { jobId } = await submit.event('job', END_MS)
    await submit.event('progress', END_MS)
    await sleep(systemClock, beforeMs)
    for (const peer of this.#peers) {
      peer.process.kill('SIGKILL')
      await sleep(systemClock, everyMs)
    }
    await sleep(systemClock, NOTICE_MS)
    submit.kill('SIGTERM')
    await submit.exited
    return drainedOf(this.#eventsOf(String(jobId)))
  }

  #eventsOf(jobId: string): LoggedLine[] {
    const path = this.#swarm.path(join('submitter', 'jobs', jobId, 'events.ndjson'))
    const lines = readFileSync(path, 'utf8').trim().split('\n')
    return lines.map((line) => JSON.parse(line) as LoggedLine)
  }

  /** The shipped claims, over and over, each line with an id of its own. */
  async #writeClaims(name: string, count: number, settings: object): Promise<string> {
    const bodies: object[] = []
    for await (const line of createInterface(createReadStream(CLAIMS)))
      bodies.push((JSON.parse(line) as { body: object }).body)
    const lines = Array.from({ length: count }, (_, n) =>
      JSON.stringify({
        custom_id: `${name}-${n}`,
        method: 'POST',
        url: '/v1/chat/completions',
        body: { ...bodies[n % bodies.length], ...settings },
      }),
    )
    const path = this.#swarm.path(`${name}.jsonl`)
    await writeFile(path, `${lines.join('\n')}\n`)
    return path
  }
}

/** Reads a job's event log: what was committed, and what each peer had when it was lost. */
function drainedOf(lines: readonly LoggedLine[]): Drained {
  const out = new Map<string, Set<number>>()
  const drained: Drained = { committed: 0, lost: 0 }
  for (const { kind, peer = '', n = -1, leases = [] } of lines) {
    const held = out.get(peer) ?? new Set()
    out.set(peer, held)
    if (kind === 'send') for (const [request] of leases) held.add(request)
    else if (kind === 'result' || kind === 'cancel') held.delete(n)
    else if (kind === 'committed') drained.committed += 1
    else if (kind === 'lost') {
      drained.lost += held.size
      held.clear()
    }
  }
  return drained
}
