import { invariant } from '../../../base/invariants.ts'
import { touch } from './contexts.ts'
import { freeContext, stopRun } from './runs.ts'
import type { Session, WorkerState, WorkerEffect } from './worker-state.ts'

/**
 * A session that ended leaves its runs to finish: they are at most what was in its slots, and a
 * submitter that comes back finds their results in the ledger. A fixed lease is lost as a whole.
 */
export function loseSession(
  state: WorkerState,
  sessionId: string,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  const session = state.sessions.get(sessionId)
  // Its stream also ends when the worker ends or refuses the session.
  if (session === undefined) return
  state.sessions.delete(sessionId)
  session.granted = 0
  session.waiting = []
  leaveContext(session)
  if (session.lease !== undefined) {
    for (const run of session.runs.values()) stopRun(state, run, nowMs, effects)
    session.lease = undefined
    freeContext(state, session, effects)
  }
  touch(state, session.context)
}

/** A session begins to take part in its context. */
export function joinContext(session: Session): void {
  const { context, share, submitter } = session
  context.sessions.push(session)
  context.shares.set(submitter, share)
  share.sessions += 1
}

function leaveContext({ context, share, submitter, id }: Session): void {
  const place = context.sessions.findIndex((session) => session.id === id)
  invariant(place >= 0, 'a session that leaves takes part in its context', { session: id })
  context.sessions.splice(place, 1)
  share.sessions -= 1
  if (share.sessions === 0) context.shares.delete(submitter)
}

/** Ends a session from the worker's side. */
export function endSession(
  state: WorkerState,
  session: Session,
  reason: string,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  for (const run of session.runs.values()) stopRun(state, run, nowMs, effects)
  loseSession(state, session.id, nowMs, effects)
  effects.push({ kind: 'end', session: session.id, reason })
}
