import { stopRun } from './runs.ts'
import { endSession } from './sessions.ts'
import type { LeaseKey } from '../../wire/task-messages.ts'
import type { Session, WorkerState, WorkerEffect } from './worker-state.ts'

/** Running requests may finish for half the time until the peer's deadline, and at most this long, ms. */
const FINISH_MS_MAX = 10_000

/** How long running requests may continue in a peer that must stop within `deadlineMs`, ms. */
export function finishMs(deadlineMs: number): number {
  return Math.min(FINISH_MS_MAX, deadlineMs / 2)
}

/** Whether a draining peer has finished all its work. */
export function isDrained({ isDraining, sessions }: WorkerState): boolean {
  return isDraining && sessions.size === 0
}

/**
 * Starts the drain. Unstarted requests return at once, so that submitters send them elsewhere without waiting
 * for a deadline; running requests may finish. A fixed lease is a unit and returns as one.
 */
export function drain(state: WorkerState, nowMs: number, effects: WorkerEffect[]): void {
  state.isDraining = true
  state.accepts = false
  state.reason = 'draining'
  for (const session of state.sessions.values()) {
    if (session.leaseSize === undefined) giveBackWaiting(session, effects)
    else end(state, session, nowMs, effects)
  }
}

/** Also returns requests that were in flight when the drain began. */
export function giveBackWaiting(session: Session, effects: WorkerEffect[]): void {
  const keys = session.waiting.map(keyOf)
  session.waiting = []
  effects.push({ kind: 'return', session: session.id, keys })
}

/** The time is up: running requests are stopped and returned too. */
export function giveBackAll(state: WorkerState, nowMs: number, effects: WorkerEffect[]): void {
  for (const session of state.sessions.values()) {
    const runs = [...session.runs.values()]
    for (const run of runs) stopRun(state, run, nowMs, effects)
    if (runs.length > 0)
      effects.push({ kind: 'return', session: session.id, keys: runs.map(({ request }) => keyOf(request)) })
    end(state, session, nowMs, effects)
  }
}

/** Ends the sessions that run nothing and whose results are all acknowledged. */
export function closeIfDone(state: WorkerState, nowMs: number, effects: WorkerEffect[]): void {
  for (const session of state.sessions.values()) {
    if (session.runs.size === 0 && state.ledger.of(session.results).length === 0) {
      end(state, session, nowMs, effects)
    }
  }
}

function keyOf({ n, epoch }: LeaseKey): LeaseKey {
  return { n, epoch }
}

function end(state: WorkerState, session: Session, nowMs: number, effects: WorkerEffect[]): void {
  effects.push({ kind: 'status', session: session.id, phase: 'refused', reason: state.reason })
  endSession(state, session, state.reason, nowMs, effects)
}
