import { areStepsChecked, checkAfterSteps, checksAskedFor } from '../../src/base/invariants.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { codeHash } from './code-hash.ts'
import { OutputFolder } from './output-folder.ts'
import type { RunResult } from './result/run-result.ts'
import { loadScenario } from '../scenarios/load.ts'
import { resultOf } from '../world/result.ts'
import { TaskRecorder } from '../world/task-recorder.ts'
import { World } from '../world/world.ts'

/** Requests of which a run keeps what they took. */
const TASKS_KEPT_MAX = 1_000_000
/** Larger swarms run unchecked unless HEARTH_CHECK=1: a check walks a core's whole state after every step. */
const PEERS_CHECKED_MAX = 200

export interface RunRequest {
  scenario: string
  settings: readonly string[]
  seed: number
  /** Where run.json, series.csv, tasks.csv and, with `events`, events.ndjson go; nowhere when undefined. */
  out?: string | undefined
  events?: boolean | undefined
  /** Without tasks.csv, which is the largest of the files. */
  isBrief?: boolean | undefined
}

/** Runs a scenario once. The same request gives the same result, but for `wallS`. */
export function runOnce(request: RunRequest): RunResult {
  const loaded = loadScenario(request.scenario, request.settings)
  const folder = request.out === undefined ? undefined : new OutputFolder(request.out)
  const tasks = new TaskRecorder(TASKS_KEPT_MAX)
  const beganMs = systemClock.nowMs()
  const world: World = new World(loaded.scenario, {
    seed: request.seed,
    tasks,
    eventsOf:
      folder === undefined || request.events !== true
        ? undefined
        : (job, requests) => folder.eventsOf(job, requests, () => world.kernel.nowMs),
  })
  runChecked(world)
  const wallS = (systemClock.nowMs() - beganMs) / 1000
  const result = resultOf(world, { loaded, seed: request.seed, tasks, wallS, codeHash: codeHash() })
  const kept = request.isBrief === true ? undefined : tasks.kept()
  folder?.write(result, kept, (peer) => world.peers[peer]?.id ?? '')
  return result
}

function runChecked(world: World): void {
  const before = areStepsChecked()
  checkAfterSteps(checksAskedFor(process.env) ?? world.peers.length <= PEERS_CHECKED_MAX)
  try {
    world.run()
  } finally {
    checkAfterSteps(before)
  }
}
