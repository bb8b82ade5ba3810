// A live run and the simulated one of the same scenario and seed, side by side.
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { RunResult } from '../../sim/runs/result/run-result.ts'
import { runOnce, type RunRequest } from '../../sim/runs/run.ts'
import { readJobLog, type JobCourse } from './job-log.ts'
import type { LiveResult } from './live-run.ts'
import { newFolder } from '../../testing/folders/new-folder.ts'

/** Both, measured alike: from the event log of the job, which both write. */
export interface Beside {
  live: JobCourse & { bytes: number }
  simulated: JobCourse & { bytes: number; run: RunResult }
}

/** How far the simulated run is off. */
export interface Errors {
  /** Shares of what the live run had. */
  makespan: number
  bytes: number
  /** Whole numbers. */
  coldStarts: number
  /** The greatest difference of the work done by any moment, as a share of all work. */
  curve: number
}

export function simulateBeside(live: LiveResult, request: RunRequest): Beside {
  const folder = newFolder('beside')
  try {
    const run = runOnce({ ...request, out: folder, events: true })
    const log = join(folder, 'events.ndjson')
    if (!existsSync(log)) throw new Error('the simulated run left no event log')
    const { fromOrigin, fromPeers } = run.bytes
    return {
      live: { ...live.course, bytes: live.fetchedBytes },
      simulated: { ...readJobLog(log), bytes: fromOrigin + fromPeers, run },
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export function errorsOf({ live, simulated }: Beside): Errors {
  return {
    makespan: simulated.makespanS / live.makespanS - 1,
    bytes: simulated.bytes / live.bytes - 1,
    coldStarts: coldStarts(simulated) - coldStarts(live),
    curve: greatestDistance(live.committedS, simulated.committedS),
  }
}

export function coldStarts({ links }: JobCourse): number {
  return links.filter(({ isColdStart }) => isColdStart).length
}

/** Between two counts over time, at the moments at which one of them steps, as a share of the first's whole. */
function greatestDistance(one: readonly number[], other: readonly number[]): number {
  const distance = (atS: number): number => Math.abs(countBy(one, atS) - countBy(other, atS))
  return Math.max(...[...one, ...other].map(distance)) / one.length
}

/** How many of the sorted moments are not later. */
function countBy(moments: readonly number[], atS: number): number {
  let [low, high] = [0, moments.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((moments[middle] ?? 0) <= atS) low = middle + 1
    else high = middle
  }
  return low
}
