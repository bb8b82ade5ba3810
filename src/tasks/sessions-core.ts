import { freeContext, stopRun, touch } from './runs-core.ts'
import type { Session, Worker, WorkerEffect } from './worker-state-core.ts'

/**
 * A session that ended leaves its runs to finish: they are at most what was in its slots, and a
 * submitter that comes back finds their results in the ledger. A fixed lease is lost as a whole.
 */
export function loseSession(state: Worker, sessionId: string, nowMs: number, effects: WorkerEffect[]): void {
  const session = state.sessions.get(sessionId)
  if (session === undefined) return
  state.sessions.delete(sessionId)
  session.granted = 0
  session.waiting = []
  leaveContext(state, session)
  if (session.lease !== undefined) {
    for (const run of session.runs.values()) stopRun(state, run, nowMs, effects)
    session.lease = undefined
    freeContext(state, session, effects)
  }
  touch(state, session.contextId)
}

function leaveContext(state: Worker, session: Session): void {
  const context = state.contexts.get(session.contextId)
  context?.sessions.delete(session)
  for (const { submitter } of context?.sessions ?? []) if (submitter === session.submitter) return
  context?.turns.delete(session.submitter)
}

/** Ends a session from our side. */
export function endSession(
  state: Worker,
  session: Session,
  reason: string,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  for (const run of session.runs.values()) stopRun(state, run, nowMs, effects)
  loseSession(state, session.id, nowMs, effects)
  effects.push({ kind: 'end', session: session.id, reason })
}
