import { join } from 'node:path'
import { EventLog } from '../src/base/log/event-log.ts'
import { systemClock } from '../src/base/system-clock.ts'
import { JOB_LOG_SCHEMA } from '../src/tasks/submitter/core/coordinator-events.ts'
import type { Bench, BenchOptions } from './support/bench.ts'
import { metricOf, type Metric } from './support/harness.ts'
import { TaskSwarm, type JobFigures } from './support/task-swarm.ts'

const PEERS = Array.from({ length: 4 }, () => ({ engineMs: 0, slots: 64 }))

/** A job of requests that cost nothing, with its event log, as `hearth submit` runs it. */
async function runNothing(swarm: TaskSwarm, name: string, requests: number): Promise<JobFigures> {
  using journal = await swarm.makeJournal(name, requests)
  const events = new EventLog(systemClock, join(swarm.folder, `${name}.ndjson`), {
    schema: { ...JOB_LOG_SCHEMA, jobId: name, requests },
    flushEveryMs: 500,
    waitingMax: 65_536,
  })
  const figures = await swarm.run(journal, events)
  await events.close()
  return figures
}

async function run({ quick, runs, note }: BenchOptions): Promise<Metric[]> {
  const requests = quick ? 2_000 : 100_000
  const swarm = await TaskSwarm.start(PEERS)
  try {
    await runNothing(swarm, 'warm-up', 2_000)
    const jobs: JobFigures[] = []
    for (let index = 0; index < runs; index += 1) {
      note(`job ${index + 1} of ${runs}: ${requests} requests`)
      jobs.push(await runNothing(swarm, `job-${index}`, requests))
    }
    const of = (figure: (job: JobFigures) => number): number[] => jobs.map(figure)
    return [
      metricOf(
        {
          name: 'requests per second that cost nothing, one submitter, 4 peers, durable journal',
          unit: '/s',
          better: 'higher',
          bound: 10_000,
          toward: 50_000,
        },
        of(({ seconds }) => requests / seconds),
      ),
      metricOf(
        { name: "the submitter's processor time for a request", unit: 'µs', better: 'lower' },
        of(({ submitterSeconds }) => (submitterSeconds / requests) * 1e6),
      ),
      metricOf(
        { name: "its peer's processor time for a request", unit: 'µs', better: 'lower' },
        of(({ peersSeconds }) => (peersSeconds / requests) * 1e6),
      ),
      metricOf(
        {
          name: 'bytes of the journal for a result over its body of 90 bytes',
          unit: '×',
          better: 'lower',
          bound: 1.5,
          toward: 1.2,
        },
        of(({ journalBytes, bodyBytes }) => journalBytes / bodyBytes),
      ),
    ]
  } finally {
    await swarm.stop()
  }
}

const bench: Bench = { question: 'How much work does Hearth itself add to a request?', run }
export default bench
