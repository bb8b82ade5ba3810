// A swarm of real processes on loopback whose jobs are disturbed, and compared with one that was not.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sleep } from '../../src/base/clock.ts'
import type { Random } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { HearthProcess } from '../../src/cli/terminal/child-process.ts'
import { Journal } from '../../src/tasks/journal/journal.ts'
import { planFaults, type Fault, type PlanOptions } from './plan.ts'
import { ChaosWorker } from './worker.ts'
import { newFolder } from '../../testing/folders/new-folder.ts'

export interface ChaosOptions {
  requests: number
  slots: number
  requestMs: number
  faults: PlanOptions
}

/** How often each fault happened, and what came of the jobs. */
export interface ChaosFigures {
  faults: Record<Fault['kind'], number>
  /** Faults that found every worker disturbed already, or the job at its end. */
  skipped: number
  committed: number
  lost: number
  duplicated: number
  /** Lines that are not what the undisturbed job gave. */
  wrong: number
  /** Lines of the output that are not what the journal has. */
  unlikeJournal: number
}

const SWARM_ID = 'c4a05000000000000000000000000000'
const FACTS = join(import.meta.dirname, '../../models/facts')
const JOB_MS_MAX = 300_000

export function noFigures(): ChaosFigures {
  const faults = {
    'kill-worker': 0,
    'end-worker': 0,
    'freeze-worker': 0,
    'partition-worker': 0,
    'reset-worker': 0,
    'kill-submitter': 0,
  }
  return { faults, skipped: 0, committed: 0, lost: 0, duplicated: 0, wrong: 0, unlikeJournal: 0 }
}

export class ChaosSwarm {
  readonly #options: ChaosOptions
  readonly #folder: string
  readonly workers: ChaosWorker[] = []
  #expected = new Map<string, string>()
  #jobs = 0

  static async start(options: ChaosOptions): Promise<ChaosSwarm> {
    const swarm = new ChaosSwarm(options)
    try {
      await swarm.#start()
      return swarm
    } catch (error) {
      await swarm.stop()
      throw error
    }
  }

  private constructor(options: ChaosOptions) {
    this.#options = options
    this.#folder = newFolder('chaos')
  }

  /** Runs the job once more, disturbed as `random` draws it, and adds what came of it to `figures`. */
  async round(random: Random, figures: ChaosFigures): Promise<void> {
    const output = join(this.#folder, `round-${Math.floor(random.next() * 2 ** 32)}.jsonl`)
    const job = new Submitter(this.#folder, this.#input, output, this.#bootstrap())
    const faults = planFaults(this.#options.faults, random)
    const beganMs = systemClock.nowMs()
    const underWay: Promise<void>[] = []
    for (const fault of faults) {
      await Promise.race([
        sleep(systemClock, Math.max(0, beganMs + fault.atMs - systemClock.nowMs())),
        job.done,
      ])
      if (job.isDone) figures.skipped += 1
      else underWay.push(this.#inflict(fault, job, figures))
    }
    await Promise.all(underWay)
    const jobId = await job.done
    this.#compare(output, jobId, figures)
  }

  /** Runs the job once more, undisturbed and joined through one worker; resolves with how many answered. */
  async job(door: ChaosWorker, figures: ChaosFigures): Promise<number> {
    const output = join(this.#folder, `job-${(this.#jobs += 1)}.jsonl`)
    const job = new Submitter(this.#folder, this.#input, output, [door.address])
    this.#compare(output, await job.done, figures)
    rmSync(output)
    return job.peersUsed
  }

  /** Starts one more worker, which joins through those that are there. */
  async addWorker(): Promise<void> {
    const { slots, requestMs } = this.#options
    const worker = await ChaosWorker.create({
      dataPath: join(this.#folder, `worker-${this.workers.length}`),
      swarm: SWARM_ID,
      bootstrap: this.#bootstrap(),
      slots,
      requestMs,
    })
    this.workers.push(worker)
    await worker.start()
  }

  async stop(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.stop()))
    rmSync(this.#folder, { recursive: true, force: true })
  }

  get #input(): string {
    return join(this.#folder, 'input.jsonl')
  }

  #bootstrap(): string[] {
    return this.workers.map(({ address }) => address)
  }

  async #start(): Promise<void> {
    const { requests, faults } = this.#options
    const dataPath = join(this.#folder, 'worker-0')
    const add = new HearthProcess(['context', 'add', FACTS, '--name', 'facts', '--data', dataPath])
    await add.event('context-added', 60_000)
    for (let index = 0; index < faults.workers; index += 1) {
      await this.addWorker()
    }
    const lines = Array.from({ length: requests }, (_, n) =>
      JSON.stringify({
        custom_id: `request-${n}`,
        method: 'POST',
        url: '/v1/completions',
        body: { prompt: `claim number ${n}`, max_tokens: 4 },
      }),
    )
    writeFileSync(this.#input, `${lines.join('\n')}\n`)
    const output = join(this.#folder, 'undisturbed.jsonl')
    await new Submitter(this.#folder, this.#input, output, this.#bootstrap()).done
    this.#expected = new Map(readLines(output).map((line) => [idOf(line), line]))
    if (this.#expected.size !== requests) throw new Error('the undisturbed job is not whole')
  }

  async #inflict(fault: Fault, job: Submitter, figures: ChaosFigures): Promise<void> {
    const hasHappened = await this.#tryTo(fault, job)
    if (hasHappened) figures.faults[fault.kind] += 1
    else figures.skipped += 1
  }

  /** False when it could not happen. */
  async #tryTo(fault: Fault, job: Submitter): Promise<boolean> {
    if (fault.kind === 'kill-submitter') return job.kill()
    const worker = this.#undisturbed(fault.worker)
    if (worker === undefined) return false
    const acts = {
      'kill-worker': (ms: number) => worker.endFor('SIGKILL', ms),
      'end-worker': (ms: number) => worker.endFor('SIGTERM', ms),
      'freeze-worker': (ms: number) => worker.freezeFor(ms),
      'partition-worker': (ms: number) => worker.partitionFor(ms),
      'reset-worker': () => worker.reset(),
    }
    return await acts[fault.kind](fault.lengthMs)
  }

  /** The worker drawn, or the next one to which nothing happens now. */
  #undisturbed(first: number): ChaosWorker | undefined {
    const turned = [...this.workers.slice(first), ...this.workers.slice(0, first)]
    return turned.find((worker) => !worker.isDisturbed)
  }

  #compare(output: string, jobId: string, figures: ChaosFigures): void {
    const lines = readLines(output)
    const ids = new Set(lines.map(idOf))
    figures.committed += ids.size
    figures.duplicated += lines.length - ids.size
    figures.lost += [...this.#expected.keys()].filter((id) => !ids.has(id)).length
    figures.wrong += lines.filter((line) => !isSame(line, this.#expected.get(idOf(line)))).length
    using journal = Journal.read(join(this.#folder, 'submitter/jobs', jobId, 'journal.sqlite'))
    const bodies = new Map([...(journal?.lines() ?? [])].map(({ customId, body }) => [customId, body]))
    figures.unlikeJournal += lines.filter(
      (line) => JSON.stringify(bodyOf(line)) !== JSON.stringify(JSON.parse(bodies.get(idOf(line)) ?? 'null')),
    ).length
  }
}

/** A `hearth submit` that is run again whenever it was killed. */
class Submitter {
  readonly #parameters: string[]
  #process: HearthProcess
  isDone = false
  /** Peers whose results count in the last run. */
  peersUsed = 0
  /** Resolves with the job's id. */
  readonly done: Promise<string>

  constructor(folder: string, input: string, output: string, bootstrap: readonly string[]) {
    this.#parameters = [
      'submit',
      input,
      `--output=${output}`,
      '--context=facts',
      `--data=${join(folder, 'submitter')}`,
      `--swarm=${SWARM_ID}`,
      ...bootstrap.map((address) => `--bootstrap=${address}`),
    ]
    this.#process = new HearthProcess(this.#parameters)
    this.done = this.#untilDone()
  }

  kill(): boolean {
    if (this.isDone) return false
    this.#process.kill('SIGKILL')
    return true
  }

  async #untilDone(): Promise<string> {
    const deadlineMs = systemClock.nowMs() + JOB_MS_MAX
    let status: number | string
    for (;;) {
      const cancel = systemClock.schedule(deadlineMs - systemClock.nowMs(), () =>
        this.#process.kill('SIGKILL'),
      )
      status = await this.#process.exited
      cancel()
      if (status !== 'SIGKILL') break
      if (systemClock.nowMs() >= deadlineMs) throw new Error(`a job took more than ${JOB_MS_MAX} ms`)
      this.#process = new HearthProcess(this.#parameters)
    }
    this.isDone = true
    const summary = this.#process.events.find(({ event }) => event === 'job-summary')
    if (summary !== undefined) {
      this.peersUsed = (summary['peers'] as { results: number }[]).filter(({ results }) => results > 0).length
      return String(summary['jobId'])
    }
    const last = JSON.stringify(this.#process.events.at(-1))
    throw new Error(`a job ended (${status}) without its summary, after ${last}: ${this.#process.stderr}`)
  }
}

function readLines(path: string): string[] {
  return readFileSync(path, 'utf8').trim().split('\n')
}

const idOf = (line: string): string => (JSON.parse(line) as { custom_id: string }).custom_id
const bodyOf = (line: string): unknown =>
  (JSON.parse(line) as { response: { body: unknown } | null }).response?.body

function isSame(line: string, expected: string | undefined): boolean {
  return expected !== undefined && JSON.stringify(bodyOf(line)) === JSON.stringify(bodyOf(expected))
}
