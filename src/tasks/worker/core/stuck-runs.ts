// Takes away the runs that make no progress: one request must not hold a slot for ever.
import { finishRun } from './runs.ts'
import type { Run, WorkerEffect, WorkerState } from './worker-state.ts'

/** A run without progress is taken away after so many times its usual time, and never before `STUCK_MS_MIN`. */
export const STUCK_TIMES = 20
export const STUCK_MS_MIN = 60_000

/** The clock of a peer that was suspended leaps: that tells nothing about its runs. */
const LEAP_MS = 10_000

/** The engine computed something of a run since it was last asked. */
export function noteProgress(state: WorkerState, id: number, nowMs: number): void {
  const run = state.runs.get(id)
  // It may be finished or stopped meanwhile.
  if (run === undefined) return
  run.hasBegun = true
  run.progressAtMs = nowMs
  run.context.progressAtMs = nowMs
  run.context.begunRun = Math.max(run.context.begunRun, id)
}

/** A submitter waits for results, and is told so often that the engine computes them. */
const COMPUTING_TOLD_MS = 5_000

export function onProgressed(
  state: WorkerState,
  runs: readonly number[],
  nowMs: number,
  effects: WorkerEffect[],
): void {
  for (const id of runs) {
    noteProgress(state, id, nowMs)
    const session = state.runs.get(id)?.session
    // A submitter that is away is told nothing.
    if (session === undefined || !state.sessions.has(session.id)) continue
    if (nowMs - session.toldAtMs < COMPUTING_TOLD_MS) continue
    session.toldAtMs = nowMs
    effects.push({ kind: 'status', session: session.id, phase: 'ready', detail: 'computing' })
  }
}

/** Ends the runs without progress as failures of this peer, so that another peer gets their requests. */
export function takeAwayStuck(state: WorkerState, nowMs: number, effects: WorkerEffect[]): void {
  const hasLeapt = nowMs - state.tickedAtMs > LEAP_MS
  state.tickedAtMs = nowMs
  const runs = state.runs.values()
  if (hasLeapt) for (const run of runs) run.progressAtMs = nowMs
  const stuck = runs.filter(isStuck(nowMs))
  for (const run of stuck) {
    const silentMs = nowMs - run.progressAtMs
    const message = `the engine made no progress on this request for ${Math.round(silentMs / 1_000)} s`
    const body = JSON.stringify({ code: 'engine-failed', message })
    effects.push({ kind: 'stop-run', run: run.id })
    const result = { outcome: 'retry', statusCode: 503, body, promptTokens: 0, completionTokens: 0 } as const
    finishRun(state, run.id, result, nowMs, effects)
  }
}

function isStuck(nowMs: number): (run: Run) => boolean {
  return (run) => {
    const usualMs = run.share.requestMs || run.context.usualMs
    return run.slotAtMs !== undefined && nowMs - sinceMs(run) > Math.max(STUCK_MS_MIN, STUCK_TIMES * usualMs)
  }
}

/**
 * Engines begin runs in order. One that has not begun waits for those before it, unless a later one has begun:
 * then its own time counts.
 */
function sinceMs({ id, hasBegun, progressAtMs, context }: Run): number {
  const isOvertaken = id < context.begunRun
  return hasBegun || isOvertaken ? progressAtMs : Math.max(progressAtMs, context.progressAtMs)
}
