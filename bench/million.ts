import { createWriteStream, readFileSync, statSync } from 'node:fs'
import { once } from 'node:events'
import { sleep } from '../src/base/clock.ts'
import { systemClock } from '../src/base/system-clock.ts'
import type { HearthProcess } from '../src/cli/terminal/child-process.ts'
import { DataFolder } from '../src/node/home/data-folder.ts'
import { JobFolder } from '../src/node/jobs/job-folder.ts'
import { TestSwarm } from '../testing/process-swarm.ts'
import type { Bench, BenchOptions } from './support/bench.ts'
import { metricOf, type Metric } from './support/harness.ts'

const PEERS = ['a', 'b', 'c', 'd']
const LOOK_EVERY_MS = 200

/** A batch file of requests of about 230 bytes. */
async function writeJob(path: string, requests: number): Promise<void> {
  const file = createWriteStream(path)
  for (let n = 0; n < requests; n += 1) {
    const prompt = `Claim ${n}: water boils at ${n % 200} degrees at sea level, says the book.\nVerdict:`
    const body = { model: 'facts', prompt, max_tokens: 1 }
    const line = { custom_id: `request-${n}`, method: 'POST', url: '/v1/completions', body }
    if (!file.write(`${JSON.stringify(line)}\n`)) await once(file, 'drain')
  }
  file.end()
  await once(file, 'close')
}

/** The most memory that a process has had resident, MB; 0 when it is gone. */
function peakMemory({ pid }: HearthProcess): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1_000
  } catch {
    return 0
  }
}

async function watchMemory(submit: HearthProcess): Promise<number> {
  let peak = 0
  const over = submit.exited.then(() => true)
  while (!(await Promise.race([over, sleep(systemClock, LOOK_EVERY_MS)]))) {
    peak = Math.max(peak, peakMemory(submit))
  }
  return peak
}

/** Ms from now until the log of a job's events has another "send" than those before. */
async function untilSent(job: JobFolder): Promise<number> {
  const beganMs = performance.now()
  const before = statSync(job.eventsPath).size
  for (;;) {
    const added = readFileSync(job.eventsPath).subarray(before).toString()
    const [opened] = added.split('\n').filter((line) => line.includes('"openedAt"'))
    const send = added.split('\n').find((line) => line.includes('"kind":"send"'))
    if (opened !== undefined && send !== undefined) {
      const { openedAt } = JSON.parse(opened) as { openedAt: number }
      const { t } = JSON.parse(send) as { t: number }
      return openedAt + t - (Date.now() - (performance.now() - beganMs))
    }
    await sleep(systemClock, LOOK_EVERY_MS)
  }
}

async function run({ quick, note }: BenchOptions): Promise<Metric[]> {
  const requests = quick ? 10_000 : 1_000_000
  const swarm = await TestSwarm.create()
  try {
    await swarm.importFacts('a')
    for (const name of PEERS) await swarm.up(name, '--engine', 'fake', '--slots', '64')
    const input = swarm.path('job.jsonl')
    await writeJob(input, requests)
    const output = swarm.path('out.jsonl')
    note(`${requests} requests in ${(statSync(input).size / 1e6).toFixed(0)} MB`)

    const first = swarm.submit(input, output)
    const firstPeak = watchMemory(first)
    const { jobId } = await first.event('job', 120_000)
    await first.event('progress', 600_000, ({ committed }) => Number(committed) > requests / 10)
    first.kill('SIGKILL')
    await first.exited

    const job = new JobFolder(new DataFolder(swarm.path('submitter')), String(jobId))
    const second = swarm.submit(input, output)
    const secondPeak = watchMemory(second)
    const restartMs = await untilSent(job)
    note(`killed at a tenth; the next sent its first request after ${restartMs.toFixed(0)} ms`)
    await second.exited
    const summary = await second.event('job-summary', 1_000)
    if (summary['committed'] !== requests) throw new Error(`not whole: ${JSON.stringify(summary)}`)
    const peak = Math.max(await firstPeak, await secondPeak)
    return metricsOf(requests, { peak, restartMs, wallMs: Number(summary['wallMs']) })
  } finally {
    await swarm.dispose()
  }
}

function metricsOf(
  requests: number,
  { peak, restartMs, wallMs }: { peak: number; restartMs: number; wallMs: number },
): Metric[] {
  return [
    metricOf(
      {
        name: `memory of a submitter with ${requests} requests, at most`,
        unit: 'MB',
        better: 'lower',
        bound: 300,
        toward: 150,
      },
      [peak],
    ),
    metricOf(
      {
        name: 'killed at a tenth: from its restart to the first request sent',
        unit: 's',
        better: 'lower',
        bound: 3,
        toward: 1,
      },
      [restartMs / 1_000],
    ),
    metricOf(
      {
        name: 'requests per second, 4 whole peers with the fake engine beside it',
        unit: '/s',
        better: 'higher',
      },
      [(requests * 0.9 * 1_000) / wallMs],
    ),
  ]
}

const bench: Bench = { question: 'What does a job of a million requests take?', run }
export default bench
