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
  context.absent.delete(submitter)
  share.sessions += 1
}

function leaveContext({ context, share, submitter, id }: Session): void {
  const place = context.sessions.findIndex((session) => session.id === id)
  invariant(place >= 0, 'a session that leaves takes part in its context', { session: id })
  context.sessions.splice(place, 1)
  share.sessions -= 1
  if (share.sessions > 0) return
  context.shares.delete(submitter)
  // A submitter that comes back before its runs are over still owes their time.
  if (share.out > 0) context.absent.set(submitter, share)
}

/** A session that leaves its credit unused for so long makes room for another submitter's. */
const IDLE_SESSION_MS = 10_000

/**
 * Makes room for a submitter where all sessions are taken: ends one that was idle for long, or else one of the
 * submitter that has most. False when nobody has more than the newcomer would.
 */
export function makeRoom(
  state: WorkerState,
  submitter: string,
  nowMs: number,
  effects: WorkerEffect[],
): boolean {
  const counts = new Map<string, number>([[submitter, 0]])
  for (const session of state.sessions.values())
    counts.set(session.submitter, (counts.get(session.submitter) ?? 0) + 1)
  const own = counts.get(submitter) ?? 0
  let victim: Session | undefined
  let most = 0
  for (const session of state.sessions.values()) {
    const isIdle = isUnused(session) && nowMs - session.share.usedAtMs >= IDLE_SESSION_MS
    const more = (counts.get(session.submitter) ?? 0) - own
    if (more < (isIdle ? 1 : 2)) continue
    const weight = more + (isIdle ? state.sessions.size : 0)
    if (weight < most) continue
    victim = session
    most = weight
  }
  if (victim === undefined) return false
  effects.push({ kind: 'status', session: victim.id, phase: 'refused', reason: 'too-many-sessions' })
  endSession(state, victim, 'too-many-sessions', nowMs, effects)
  return true
}

/** Whether a session has credit and uses none of it. */
function isUnused({ granted, waiting, runs, lease }: Session): boolean {
  return granted > 0 && waiting.length === 0 && runs.size === 0 && lease === undefined
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
