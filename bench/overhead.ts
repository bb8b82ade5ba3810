import { readFileSync } from 'node:fs'
import { silentLogger } from '../src/base/log/logger.ts'
import { systemClock } from '../src/base/system-clock.ts'
import { systemRandom } from '../src/base/system-random.ts'
import type { EngineRequest } from '../src/inference/contract/engine.ts'
import { loadEngine } from '../src/inference/engines/load-engine.ts'
import type { LlamaShape } from '../src/inference/graph/llama-weights.ts'
import { JobFolder } from '../src/node/jobs/job-folder.ts'
import { DataFolder } from '../src/node/home/data-folder.ts'
import { TestSwarm } from '../testing/process-swarm.ts'
import type { Bench, BenchOptions } from './support/bench.ts'
import { metricOf, type Metric } from './support/harness.ts'
import { writeRandomContext } from './support/random-context.ts'
import { TaskSwarm } from './support/task-swarm.ts'

/** 31 M parameters. */
const SHAPE: LlamaShape = {
  layers: 10,
  hidden: 448,
  intermediate: 1_216,
  heads: 7,
  keyValueHeads: 7,
  headSize: 64,
  vocabulary: 8_192,
  positionsMax: 2_048,
  ropeTheta: 10_000,
  normEpsilon: 1e-5,
}
const TOKENS = 24
const SLOTS = 32
const READY_MS = 60_000

/** From the request's sending to its result being durable, less the time in the engine; ms, sorted. */
async function measureLone(requests: number): Promise<number[]> {
  const swarm = await TaskSwarm.start([{ engineMs: 5, slots: 1, windowMax: 1 }])
  try {
    using journal = await swarm.makeJournal('lone', requests)
    const sentMs = new Map<number, number>()
    const tookMs = new Map<number, number>()
    await swarm.run(journal, {
      add(event) {
        const nowMs = performance.now()
        if (event.kind === 'send') for (const [n] of event['leases'] as [number][]) sentMs.set(n, nowMs)
        const n = Number(event['n'])
        if (event.kind === 'committed') tookMs.set(n, nowMs - (sentMs.get(n) ?? Number.NaN))
      },
    })
    return [...journal.lines()]
      .map(
        ({ n, body }) => (tookMs.get(n) ?? Number.NaN) - (JSON.parse(body) as { engineMs: number }).engineMs,
      )
      .sort((left, right) => left - right)
  } finally {
    await swarm.stop()
  }
}

/** Requests per second between the first tenth and the last of them. */
function steadyRate(endedMs: readonly number[]): number {
  const sorted = [...endedMs].sort((left, right) => left - right)
  const [from, to] = [Math.floor(sorted.length * 0.1), Math.floor(sorted.length * 0.9)]
  return ((to - from) * 1_000) / ((sorted[to] ?? 0) - (sorted[from] ?? 0))
}

const requestOf = (n: number): EngineRequest => ({
  url: '/v1/completions',
  body: {
    prompt: `${n} Claim: water boils at ${n % 200} degrees at sea level, says the book. `.padEnd(120, 'x'),
    max_tokens: TOKENS,
    temperature: 1,
    seed: n,
  },
})

async function rateInProcess(folder: string, requests: number): Promise<number> {
  const engine = await loadEngine(
    folder,
    { engine: 'auto', threads: 1, slots: SLOTS },
    { clock: systemClock, random: systemRandom, log: silentLogger },
  )
  const ended: number[] = []
  await Promise.all(
    Array.from({ length: requests }, async (_, n) => {
      const result = await engine.run(requestOf(n))
      if (!result.ok) throw new Error(result.error.message)
      ended.push(performance.now())
    }),
  )
  await engine.close()
  return steadyRate(ended)
}

async function rateThroughNetwork(swarm: TestSwarm, name: string, requests: number): Promise<number> {
  const lines = Array.from({ length: requests }, (_, n) => {
    const { url, body } = requestOf(n)
    return JSON.stringify({ custom_id: `request-${n}`, method: 'POST', url, body })
  })
  const input = await swarm.file(`${name}.jsonl`, `${lines.join('\n')}\n`)
  const submit = swarm.submit(input, swarm.path(`${name}.out`), '--context', 'random')
  await submit.exited
  const summary = await submit.event('job-summary', 1_000)
  if (summary['committed'] !== requests || summary['failed'] !== 0) throw new Error(JSON.stringify(summary))
  const job = new JobFolder(new DataFolder(swarm.path('submitter')), String(summary['jobId']))
  const events = readFileSync(job.eventsPath, 'utf8').trim().split('\n')
  const results = events
    .map((line) => JSON.parse(line) as { kind?: string; t: number })
    .filter(({ kind }) => kind === 'result')
  return steadyRate(results.map(({ t }) => t))
}

async function measureThroughput({ quick, runs, note }: BenchOptions): Promise<number[]> {
  const swarm = await TestSwarm.create()
  try {
    const folder = swarm.path('random')
    writeRandomContext(
      folder,
      quick ? { ...SHAPE, layers: 2, hidden: 128, heads: 2, keyValueHeads: 2 } : SHAPE,
    )
    const add = ['context', 'add', folder, '--name', 'random', '--data', swarm.path('peer')]
    await swarm.hearth(...add).event('context-added', READY_MS)
    await swarm.up('peer', '--threads', '1', '--slots', String(SLOTS))
    const requests = quick ? 100 : 600
    await rateThroughNetwork(swarm, 'warm-up', SLOTS * 2)
    const ratios: number[] = []
    for (let index = 0; index < runs; index += 1) {
      const alone = await rateInProcess(folder, requests)
      const through = await rateThroughNetwork(swarm, `job-${index}`, requests)
      note(
        `${(alone * TOKENS).toFixed(0)} tokens/s in-process, ${(through * TOKENS).toFixed(0)} through the network`,
      )
      ratios.push(through / alone)
    }
    return ratios
  } finally {
    await swarm.dispose()
  }
}

async function run(options: BenchOptions): Promise<Metric[]> {
  const lone = await measureLone(options.quick ? 50 : 1_000)
  const at = (share: number): number[] => [lone[Math.floor((lone.length - 1) * share)] ?? Number.NaN]
  const wanted = { unit: 'ms', better: 'lower' } as const
  return [
    metricOf(
      { ...wanted, name: 'added to a lone request, warm, half of them', bound: 3, toward: 1 },
      at(0.5),
    ),
    metricOf(
      { ...wanted, name: 'added to a lone request, warm, all but 1 %', bound: 20, toward: 5 },
      at(0.99),
    ),
    metricOf(
      {
        name: 'tokens/s through the network over the same engine in-process, 31 M, 32 slots',
        unit: '×',
        better: 'higher',
        bound: 0.95,
        toward: 0.99,
      },
      await measureThroughput(options),
    ),
  ]
}

const bench: Bench = { question: 'What does a request lose on its way through the network?', run }
export default bench
