import { invariant, isCheckDue } from '../../../base/invariants.ts'
import { SmallMap } from '../../../base/small-map.ts'
import { drop, moveContext, prepare, touch } from './contexts.ts'
import { grantCredit } from './credit.ts'
import { closeIfDone, drain, giveBackWaiting, giveBackAll } from './drain.ts'
import { finishRun, oneDone, startWaiting, stopRun } from './runs.ts'
import { endSession, joinContext, loseSession, makeRoom } from './sessions.ts'
import { noteProgress, onProgressed, takeAwayStuck } from './stuck-runs.ts'
import { createShare } from './turns.ts'
import type { LeaseKey, TaskRequest } from '../../wire/task-messages.ts'
import { checkWorker, sizeOf } from './worker-check.ts'
import {
  createContext,
  type ContextView,
  type Session,
  type WorkerState,
  type WorkerEffect,
  type WorkerEvent,
} from './worker-state.ts'

/** Takes one event and returns its effects. The only function that changes a worker. */
export function stepWorker(state: WorkerState, event: WorkerEvent, nowMs: number): WorkerEffect[] {
  const effects: WorkerEffect[] = []
  switch (event.kind) {
    case 'opened':
      onOpened(state, event, nowMs, effects)
      break
    case 'lease':
      onLease(state, event.session, event.requests, nowMs, effects)
      break
    case 'requests':
      onRequests(state, event.session, event.requests, nowMs, effects)
      break
    case 'acknowledged':
      onAcknowledged(state, event.session, event.keys)
      break
    case 'cancelled':
      onCancelled(state, event.session, event.keys, nowMs, effects)
      break
    case 'lost':
      loseSession(state, event.session, nowMs, effects)
      break
    case 'progress':
      onProgress(state, event, effects)
      break
    case 'prepared':
      onPrepared(state, event.contextId, event.slots, effects)
      break
    case 'unprepared':
      onUnprepared(state, event, nowMs, effects)
      break
    case 'discarded':
      onDiscarded(state, event.contextId, effects)
      break
    case 'done':
      noteProgress(state, event.run, nowMs)
      finishRun(state, event.run, event.result, nowMs, effects)
      break
    case 'owner':
      onOwner(state, event.accepts, event.reason ?? 'paused', nowMs, effects)
      break
    case 'drain':
      drain(state, nowMs, effects)
      break
    case 'drain-over':
      giveBackAll(state, nowMs, effects)
      break
    case 'tick':
      state.ledger.expire(nowMs)
      takeAwayStuck(state, nowMs, effects)
      break
    case 'progressed':
      onProgressed(state, event.runs, nowMs, effects)
      break
  }
  lookAtTouched(state, nowMs, effects)
  if (isCheckDue(state, sizeOf(state))) checkWorker(state)
  return effects
}

/** Hands requests to the engine and grants credit, in each context that the event touched. */
function lookAtTouched(state: WorkerState, nowMs: number, effects: WorkerEffect[]): void {
  if (state.isDraining) closeIfDone(state, nowMs, effects)
  for (const context of state.touched) {
    startWaiting(state, context, nowMs, effects)
    grantCredit(state, context, nowMs, effects)
  }
  for (let last = state.touched.pop(); last !== undefined; last = state.touched.pop()) last.isTouched = false
}

function onOpened(
  state: WorkerState,
  event: Extract<WorkerEvent, { kind: 'opened' }>,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  const refusal = refusalOf(state, event, nowMs, effects)
  if (refusal !== undefined) {
    effects.push({ kind: 'status', session: event.session, phase: 'refused', reason: refusal })
    effects.push({ kind: 'end', session: event.session, reason: refusal })
    return
  }
  invariant(!state.sessions.has(event.session), 'a session opens once', { session: event.session })
  endOlderSessionOf(state, event, nowMs, effects)
  const { submitter, job, contextId, leaseSize } = event
  const context = state.contexts.get(contextId) ?? createContext(contextId)
  state.contexts.set(contextId, context)
  const session: Session = {
    id: event.session,
    submitter,
    job,
    contextId,
    context,
    share: context.shares.get(submitter) ?? context.absent.get(submitter) ?? createShare(),
    results: state.ledger.open(submitter, job),
    leaseSize,
    lease: undefined,
    granted: 0,
    waiting: [],
    runs: new SmallMap(),
    toldAtMs: nowMs,
  }
  state.sessions.set(session.id, session)
  redeliver(state, session, effects)
  joinContext(session)
  const phase = context.phase === 'ready' ? 'ready' : (context.detail?.phase ?? 'queued')
  effects.push({ kind: 'status', session: session.id, phase })
  if (context.phase === 'idle' && state.options.evaluate === 'pervasive') prepare(context, effects)
  touch(state, context)
}

function refusalOf(
  state: WorkerState,
  { submitter, leaseSize }: Extract<WorkerEvent, { kind: 'opened' }>,
  nowMs: number,
  effects: WorkerEffect[],
): string | undefined {
  if (!state.accepts) return state.reason
  if (state.options.evaluate !== 'pervasive' && leaseSize === undefined) return 'lease-size-missing'
  const isFull = state.sessions.size >= state.options.sessionsMax
  if (isFull && !makeRoom(state, submitter, nowMs, effects)) return 'too-many-sessions'
  return undefined
}

/** A returning submitter replaces its own lost session, even before the loss is noticed. */
function endOlderSessionOf(
  state: WorkerState,
  event: Extract<WorkerEvent, { kind: 'opened' }>,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  for (const session of state.sessions.values()) {
    if (session.submitter !== event.submitter || session.job !== event.job) continue
    loseSession(state, session.id, nowMs, effects)
    effects.push({ kind: 'end', session: session.id, reason: 'replaced' })
  }
}

function redeliver(state: WorkerState, session: Session, effects: WorkerEffect[]): void {
  const results = state.ledger.of(session.results)
  if (results.length > 0) effects.push({ kind: 'deliver', session: session.id, results })
}

/** A lease uses up its whole credit, even when it is the last and smaller one. */
function onLease(
  state: WorkerState,
  sessionId: string,
  requests: number,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  const session = state.sessions.get(sessionId)
  // A submitter may say something after its session ended.
  if (session === undefined) return
  if (session.leaseSize === undefined || requests > session.granted) {
    return endSession(state, session, 'a lease without credit', nowMs, effects)
  }
  session.granted = 0
  session.lease = { toArrive: requests, left: requests, results: [] }
  if (session.context.phase === 'idle') prepare(session.context, effects)
}

function onRequests(
  state: WorkerState,
  sessionId: string,
  requests: TaskRequest[],
  nowMs: number,
  effects: WorkerEffect[],
): void {
  const session = state.sessions.get(sessionId)
  // A submitter may say something after its session ended.
  if (session === undefined) return
  const { lease } = session
  if (requests.length > (session.leaseSize === undefined ? session.granted : (lease?.toArrive ?? 0))) {
    endSession(state, session, 'more requests than credit', nowMs, effects)
    return
  }
  session.share.usedAtMs = nowMs
  if (lease === undefined) session.granted -= requests.length
  else lease.toArrive -= requests.length
  session.waiting = session.waiting.concat(requests)
  if (state.isDraining) giveBackWaiting(session, effects)
  touch(state, session.context)
}

function onDiscarded(state: WorkerState, contextId: string, effects: WorkerEffect[]): void {
  const context = state.contexts.get(contextId)
  // A worker that was stopped and started knows nothing of what it unloaded before.
  if (context?.phase !== 'discarding') return
  moveContext(context, 'idle')
  context.detail = undefined
  if (context.sessions.length === 0) drop(state, context)
  else if (state.options.evaluate === 'pervasive') prepare(context, effects)
  for (const { id } of context.sessions) effects.push({ kind: 'status', session: id, phase: 'queued' })
  touch(state, context)
}

function onAcknowledged(state: WorkerState, sessionId: string, keys: LeaseKey[]): void {
  const session = state.sessions.get(sessionId)
  // A submitter may say something after its session ended.
  if (session === undefined) return
  for (const key of keys) state.ledger.settle(session.results, key)
  touch(state, session.context)
}

function onCancelled(
  state: WorkerState,
  sessionId: string,
  keys: LeaseKey[],
  nowMs: number,
  effects: WorkerEffect[],
): void {
  const session = state.sessions.get(sessionId)
  // A submitter may say something after its session ended.
  if (session === undefined) return
  for (const key of keys) {
    state.ledger.settle(session.results, key)
    const run = session.runs.get(key.n)
    if (run !== undefined && run.request.epoch <= key.epoch) stopRun(state, run, nowMs, effects)
    else if (!stopWaiting(session, key)) continue
    if (session.lease !== undefined) oneDone(state, session, session.lease, effects)
  }
  touch(state, session.context)
}

function stopWaiting({ waiting }: Session, key: LeaseKey): boolean {
  // It may be answered, or given back, before it is cancelled.
  const index = waiting.findIndex(({ n, epoch }) => n === key.n && epoch <= key.epoch)
  if (index < 0) return false
  waiting.splice(index, 1)
  return true
}

function onProgress(
  state: WorkerState,
  event: Extract<WorkerEvent, { kind: 'progress' }>,
  effects: WorkerEffect[],
): void {
  const context = state.contexts.get(event.contextId)
  // It may be unloaded, or its sessions lost, while it is prepared.
  if (context?.phase !== 'preparing') return
  context.detail = { phase: event.phase, words: event.detail }
  for (const session of context.sessions) {
    effects.push({ kind: 'status', session: session.id, phase: event.phase, detail: event.detail })
  }
}

function onPrepared(state: WorkerState, contextId: string, slots: number, effects: WorkerEffect[]): void {
  const context = state.contexts.get(contextId)
  // It may be unloaded, or its sessions lost, while it is prepared.
  if (context?.phase !== 'preparing') return
  moveContext(context, 'ready')
  context.slots = slots
  // The owner paused this peer while it loaded.
  if (!state.accepts && !state.isDraining) return unload(context, effects)
  for (const session of context.sessions) {
    effects.push({ kind: 'status', session: session.id, phase: 'ready' })
  }
  touch(state, context)
}

/** Ends the sessions of a context that failed to load or was unloaded, with the reason. */
function onUnprepared(
  state: WorkerState,
  { contextId, reason, detail }: Extract<WorkerEvent, { kind: 'unprepared' }>,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  const context = state.contexts.get(contextId)
  // The owner may unload any context, whether it is used or not.
  if (context === undefined || context.phase === 'discarding' || context.phase === 'idle') return
  // Each leaves the list as it ends.
  for (const session of context.sessions.slice()) {
    effects.push({ kind: 'status', session: session.id, phase: 'refused', reason, detail })
    endSession(state, session, reason, nowMs, effects)
  }
  drop(state, context)
}

function onOwner(
  state: WorkerState,
  accepts: boolean,
  reason: string,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  if (state.isDraining) return
  state.accepts = accepts
  state.reason = reason
  if (accepts) return
  for (const session of state.sessions.values()) {
    effects.push({ kind: 'status', session: session.id, phase: 'refused', reason })
    endSession(state, session, reason, nowMs, effects)
  }
  for (const context of state.contexts.values()) if (context.phase === 'ready') unload(context, effects)
}

/** The owner gets the memory back, and keeps the files. */
function unload(context: ContextView, effects: WorkerEffect[]): void {
  moveContext(context, 'discarding')
  effects.push({ kind: 'discard', contextId: context.contextId, keepsFiles: true })
}
