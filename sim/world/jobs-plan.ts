import type { EventSink } from '../../src/base/log/event-log.ts'
import { SUBMITTER_LATENCY_US } from '../scenarios/outside.ts'
import { JobRun } from './job-run.ts'
import { Workload } from './swarm/workload.ts'
import type { Swarm } from './swarm/swarm.ts'

/** The jobs of a scenario, in the order they are submitted. */
export function planJobs(
  world: Swarm,
  eventsOf: ((job: string, requests: number) => EventSink) | undefined,
): JobRun[] {
  const { scenario, streams } = world
  const random = streams.of('jobs', 'context')
  const planned = scenario.jobs.flatMap((kind) =>
    Array.from({ length: kind.count }, (_, number) => ({
      kind,
      submitter: kind.submitters === 1 ? kind.submitter : `${kind.submitter}-${number % kind.submitters}`,
      atS: kind.atS + number * kind.everyS,
      context:
        kind.context === 'zipf'
          ? drawZipf(scenario.contexts.count, scenario.zipfExponent, random)
          : kind.context,
    })),
  )
  planned.sort((left, right) => left.atS - right.atS)
  return planned.map(({ kind, submitter, atS, context }, number) => {
    const id = `job-${String(number).padStart(4, '0')}`
    const workload = new Workload(
      id,
      { inferences: kind.inferences, batch: scenario.inferencesPerRequest, work: scenario.work },
      streams,
    )
    const job = new JobRun(world, workload, {
      number,
      id,
      submitter,
      context,
      latencyUs: SUBMITTER_LATENCY_US,
      events: eventsOf?.(id, workload.requests),
    })
    job.submittedUs = atS * 1e6
    return job
  })
}

/** A number below `count`, each less likely than the one before as 1 / rank^exponent. */
function drawZipf(count: number, exponent: number, random: { next(): number }): number {
  const weights = Array.from({ length: count }, (_, index) => (index + 1) ** -exponent)
  let left = random.next() * weights.reduce((sum, weight) => sum + weight, 0)
  return Math.max(
    0,
    weights.findIndex((weight) => (left -= weight) < 0),
  )
}
