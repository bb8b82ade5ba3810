import { invariant, present } from '../../../base/invariants.ts'
import { moveContext, touch } from './contexts.ts'
import { refusedRequest } from './request-check.ts'
import { enterSlot, leaveSlot, nextInTurn, putLast } from './turns.ts'
import type { Outcome, TaskRequest, TaskResult } from '../../wire/task-messages.ts'
import {
  type ContextView,
  type FixedLease,
  type Run,
  type Session,
  type WorkerState,
  type WorkerEffect,
} from './worker-state.ts'

/**
 * Hands requests to the engine, which runs them in order: enough that no slot runs dry,
 * and no more, so that a later submitter waits for its turn only, not for the whole queue.
 */
export function startWaiting(
  state: WorkerState,
  context: ContextView,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  if (context.phase !== 'ready') return
  const { handOverMs } = state.options
  // Nothing is handed over ahead while the rate is unknown.
  const ahead = Math.ceil(((context.rate.perSecond(nowMs) ?? 0) * handOverMs) / 1_000)
  const runsMax = context.slots + Math.max(context.slots, ahead)
  while (context.running < runsMax) {
    const session = nextInTurn(context, nowMs)
    if (session === undefined) return
    const request = present(session.waiting.shift(), 'a session in turn has a request', {
      session: session.id,
    })
    startRun(state, context, session, request, nowMs, effects)
  }
}

function startRun(
  state: WorkerState,
  context: ContextView,
  session: Session,
  request: TaskRequest,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  const known = state.ledger.find(session.results, request)
  if (known !== undefined) return giveBack(state, session, known, effects)
  const refused = refusedRequest(request)
  if (refused !== undefined) {
    state.ledger.add(session.results, refused, nowMs)
    return giveBack(state, session, refused, effects)
  }
  const older = session.runs.get(request.n)
  if (older !== undefined) stopRun(state, older, nowMs, effects)
  const run: Run = {
    id: state.nextRun++,
    session,
    context,
    share: session.share,
    request,
    slotAtMs: undefined,
    progressAtMs: nowMs,
    hasBegun: false,
  }
  enterSlot(run, nowMs)
  session.runs.set(request.n, run)
  state.runs.set(run.id, run)
  context.running += 1
  context.rate.begin(nowMs)
  effects.push({ kind: 'run', run: run.id, contextId: session.contextId, request })
}

export function stopRun(state: WorkerState, run: Run, nowMs: number, effects: WorkerEffect[]): void {
  forgetRun(state, run, undefined, nowMs)
  effects.push({ kind: 'stop-run', run: run.id })
}

function forgetRun(state: WorkerState, run: Run, outcome: Outcome | undefined, nowMs: number): void {
  const { id, session, context, request } = run
  const isKnown = session.runs.delete(request.n) && state.runs.delete(id)
  invariant(isKnown && context.running > 0, 'a run ends once', { run: id, running: context.running })
  context.running -= 1
  context.rate.end(outcome === undefined ? 0 : 1, nowMs)
  leaveSlot(run, outcome === 'ok', nowMs)
}

/** Sends a result at once; results of a fixed lease when the whole lease is done. */
function giveBack(state: WorkerState, session: Session, result: TaskResult, effects: WorkerEffect[]): void {
  const { lease } = session
  if (lease === undefined) {
    effects.push({ kind: 'deliver', session: session.id, results: [result] })
    return
  }
  lease.results.push(result)
  oneDone(state, session, lease, effects)
}

export function oneDone(
  state: WorkerState,
  session: Session,
  lease: FixedLease,
  effects: WorkerEffect[],
): void {
  lease.left -= 1
  invariant(lease.left >= lease.toArrive, 'a request of a lease is done once', {
    session: session.id,
    left: lease.left,
    toArrive: lease.toArrive,
  })
  if (lease.left > 0) return
  effects.push({ kind: 'deliver', session: session.id, results: lease.results })
  session.lease = undefined
  freeContext(state, session, effects)
}

/** After a lease: nothing of the context is kept but what the evaluation mode says, and the next session has its turn. */
export function freeContext(state: WorkerState, session: Session, effects: WorkerEffect[]): void {
  const { context } = session
  touch(state, context)
  const { evaluate } = state.options
  if (evaluate === 'pervasive' || context.phase === 'discarding') return
  // A session that was lost with its lease has left the context.
  if (context.sessions.includes(session)) putLast(session)
  moveContext(context, 'discarding')
  effects.push({ kind: 'discard', contextId: context.contextId, keepsFiles: evaluate === 'partial' })
}

/** Ends a run: its result is sent, and kept until it is acknowledged. */
export function finishRun(
  state: WorkerState,
  runId: number,
  result: Omit<TaskResult, 'n' | 'epoch'>,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  const run = state.runs.get(runId)
  // The engine may finish a run just as it is stopped.
  if (run === undefined) return
  forgetRun(state, run, result.outcome, nowMs)
  const { n, epoch } = run.request
  const whole: TaskResult = { ...result, n, epoch }
  state.ledger.add(run.session.results, whole, nowMs)
  const current = currentSession(state, run.session)
  if (current === run.session) giveBack(state, current, whole, effects)
  else if (current !== undefined) effects.push({ kind: 'deliver', session: current.id, results: [whole] })
  const { context } = run
  // Where the context was dropped and prepared again, a slot may be free for the new one.
  const successor = context.isDropped ? state.contexts.get(context.contextId) : context
  if (successor !== undefined) touch(state, successor)
}

/** The present session of a finished run: its own, or the new one of its returning submitter. */
function currentSession(state: WorkerState, session: Session): Session | undefined {
  if (state.sessions.has(session.id)) return session
  for (const other of state.sessions.values()) {
    if (other.submitter === session.submitter && other.job === session.job) return other
  }
  return undefined
}
