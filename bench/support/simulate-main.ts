// A process of its own for one run of the simulator, so that its memory is its own: gets a RunRequest as its
// argument, runs it as `hearth sim run` does, prints a SimulatedRun.
import { runMany } from '../../sim/runs/run-many.ts'
import type { RunRequest } from '../../sim/runs/run.ts'
import type { RunResult } from '../../sim/runs/result/run-result.ts'

export interface SimulatedRun {
  events: number
  eventHash: string
  /** Requests of jobs that were done. */
  tasks: number
  /** Seconds that the run took, without starting the process and reading the scenario. */
  wallS: number
  /** The most memory that the process had. */
  peakBytes: number
  /** Names of checks that did not hold. */
  broken: string[]
}

const request = JSON.parse(process.argv[2] ?? '') as RunRequest
const [result] = await runMany([request], 1)
const { events, eventHash, tasks, wallS, checks } = result as RunResult
const run: SimulatedRun = {
  events,
  eventHash,
  tasks: tasks.count,
  wallS,
  peakBytes: process.resourceUsage().maxRSS * 1024,
  broken: checks.filter(({ holds }) => !holds).map(({ check }) => check),
}
console.log(JSON.stringify(run))
