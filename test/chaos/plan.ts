// What goes wrong in one round, and when: drawn from a seed before it begins.
import { randomBetween, randomInteger, type Random } from '../../src/base/random.ts'

export interface PlanOptions {
  workers: number
  workerKills: number
  submitterKills: number
  /** SIGSTOP, and SIGCONT after a while. */
  freezes: number
  /** SIGTERM: a worker that leaves in peace. */
  departures: number
  /** A worker that can be reached, and can reach nobody, no more for a while. */
  partitions: number
  /** All connections to a worker cut at once. */
  resets: number
  /** The faults are spread over this time, ms. */
  lengthMs: number
}

/** `lengthMs`: how long a worker is away, frozen or cut off. */
export type Fault = { kind: WorkerFault; worker: number; lengthMs: number } | { kind: 'kill-submitter' }

type WorkerFault = 'kill-worker' | 'end-worker' | 'freeze-worker' | 'partition-worker' | 'reset-worker'

export type PlannedFault = Fault & { atMs: number }

/** In the order of time; the first second is left alone, so that there is something to disturb. */
export function planFaults(options: PlanOptions, random: Random): PlannedFault[] {
  const times = (count: number, make: () => Fault): Fault[] => Array.from({ length: count }, make)
  const ofWorkers = (kind: WorkerFault, count: number, lengthMs: () => number): Fault[] =>
    times(count, () => ({ kind, worker: randomInteger(random, options.workers), lengthMs: lengthMs() }))
  const awayMs = (): number => randomBetween(random, 0, 1_500)
  const faults = [
    ...ofWorkers('kill-worker', options.workerKills, awayMs),
    ...ofWorkers('end-worker', options.departures, awayMs),
    ...ofWorkers('freeze-worker', options.freezes, () => pauseMs(random)),
    ...ofWorkers('partition-worker', options.partitions, () => pauseMs(random)),
    ...ofWorkers('reset-worker', options.resets, () => 0),
    ...times(options.submitterKills, () => ({ kind: 'kill-submitter' })),
  ]
  return faults
    .map((fault) => ({ ...fault, atMs: randomBetween(random, 1_000, options.lengthMs) }))
    .sort((left, right) => left.atMs - right.atMs)
}

/** Mostly short; one in five is longer than the silence after which a peer is taken as lost. */
function pauseMs(random: Random): number {
  return random.next() < 0.2 ? randomBetween(random, 10_500, 13_000) : randomBetween(random, 300, 2_500)
}
