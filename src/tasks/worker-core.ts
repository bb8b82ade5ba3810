import type { LeaseKey, TaskRequest, TaskResult } from './task-messages.ts'
import {
  ledgerKey,
  type ContextView,
  type Run,
  type Session,
  type Worker,
  type WorkerEffect,
  type WorkerEvent,
} from './worker-state-core.ts'

/** One event in, what to do about it out. The only function that changes a worker. */
export function stepWorker(state: Worker, event: WorkerEvent, nowMs: number): WorkerEffect[] {
  const effects: WorkerEffect[] = []
  switch (event.kind) {
    case 'opened':
      onOpened(state, event, effects)
      break
    case 'requests':
      onRequests(state, event.session, event.requests, effects)
      break
    case 'acknowledged':
      onAcknowledged(state, event.session, event.keys, effects)
      break
    case 'cancelled':
      onCancelled(state, event.session, event.keys, effects)
      break
    case 'lost':
      onLost(state, event.session, effects)
      break
    case 'progress':
      onProgress(state, event, effects)
      break
    case 'prepared':
      onPrepared(state, event.contextId, event.slots, effects)
      break
    case 'unprepared':
      onUnprepared(state, event.contextId, event.reason, event.detail, effects)
      break
    case 'done':
      onDone(state, event.run, event.result, nowMs, effects)
      break
    case 'owner':
      onOwner(state, event.accepts, event.reason ?? 'paused', effects)
      break
    case 'tick':
      state.ledger.expire(nowMs)
      break
  }
  return effects
}

function onOpened(
  state: Worker,
  event: Extract<WorkerEvent, { kind: 'opened' }>,
  effects: WorkerEffect[],
): void {
  const refusal = refusalOf(state)
  if (refusal !== undefined) {
    effects.push({ kind: 'status', session: event.session, phase: 'refused', reason: refusal })
    effects.push({ kind: 'end', session: event.session, reason: refusal })
    return
  }
  endOlderSessionOf(state, event, effects)
  const session: Session = {
    id: event.session,
    submitter: event.submitter,
    job: event.job,
    contextId: event.contextId,
    granted: 0,
    runs: new Map(),
  }
  state.sessions.set(session.id, session)
  redeliver(state, session, effects)
  const context = state.contexts.get(event.contextId)
  if (context === undefined) {
    state.contexts.set(event.contextId, {
      phase: 'preparing',
      slots: 0,
      sessions: new Set([session]),
      detail: undefined,
    })
    effects.push({ kind: 'status', session: session.id, phase: 'queued' })
    effects.push({ kind: 'prepare', contextId: event.contextId })
    return
  }
  context.sessions.add(session)
  if (context.phase === 'ready') {
    effects.push({ kind: 'status', session: session.id, phase: 'ready' })
    grantAll(state, context, effects)
  } else {
    effects.push({ kind: 'status', session: session.id, phase: context.detail?.phase ?? 'queued' })
  }
}

function refusalOf(state: Worker): string | undefined {
  if (!state.accepts) return state.reason
  if (state.sessions.size >= state.options.sessionsMax) return 'too-many-sessions'
  return undefined
}

/** A submitter that comes back takes the place of its own lost session, before that loss was noticed. */
function endOlderSessionOf(
  state: Worker,
  event: Extract<WorkerEvent, { kind: 'opened' }>,
  effects: WorkerEffect[],
): void {
  for (const session of state.sessions.values()) {
    if (session.submitter !== event.submitter || session.job !== event.job) continue
    onLost(state, session.id, effects)
    effects.push({ kind: 'end', session: session.id, reason: 'replaced' })
  }
}

function redeliver(state: Worker, session: Session, effects: WorkerEffect[]): void {
  const results = state.ledger.of(ledgerKey(session))
  if (results.length > 0) effects.push({ kind: 'deliver', session: session.id, results })
}

function onRequests(
  state: Worker,
  sessionId: string,
  requests: TaskRequest[],
  effects: WorkerEffect[],
): void {
  const session = state.sessions.get(sessionId)
  if (session === undefined) return
  if (requests.length > session.granted) {
    endSession(state, session, 'more requests than credit', effects)
    return
  }
  session.granted -= requests.length
  for (const request of requests) startRun(state, session, request, effects)
}

function startRun(state: Worker, session: Session, request: TaskRequest, effects: WorkerEffect[]): void {
  const key: LeaseKey = { n: request.n, epoch: request.epoch }
  const known = state.ledger.find(ledgerKey(session), key)
  if (known !== undefined) {
    effects.push({ kind: 'deliver', session: session.id, results: [known] })
    return
  }
  const older = session.runs.get(request.n)
  if (older !== undefined) stopRun(state, older, effects)
  const run: Run = { id: `run-${state.nextRun++}`, session, key }
  session.runs.set(request.n, run)
  state.runs.set(run.id, run)
  effects.push({ kind: 'run', run: run.id, contextId: session.contextId, request })
}

function stopRun(state: Worker, run: Run, effects: WorkerEffect[]): void {
  run.session.runs.delete(run.key.n)
  state.runs.delete(run.id)
  effects.push({ kind: 'stop-run', run: run.id })
}

function onAcknowledged(state: Worker, sessionId: string, keys: LeaseKey[], effects: WorkerEffect[]): void {
  const session = state.sessions.get(sessionId)
  if (session === undefined) return
  for (const key of keys) state.ledger.settle(ledgerKey(session), key)
  grantContext(state, session.contextId, effects)
}

function onCancelled(state: Worker, sessionId: string, keys: LeaseKey[], effects: WorkerEffect[]): void {
  const session = state.sessions.get(sessionId)
  if (session === undefined) return
  for (const key of keys) {
    const run = session.runs.get(key.n)
    if (run !== undefined && run.key.epoch <= key.epoch) stopRun(state, run, effects)
    state.ledger.settle(ledgerKey(session), key)
  }
  grantContext(state, session.contextId, effects)
}

/**
 * A session that ended leaves its runs to finish: they are at most what was in its slots, and a
 * submitter that comes back finds their results in the ledger.
 */
function onLost(state: Worker, sessionId: string, effects: WorkerEffect[]): void {
  const session = state.sessions.get(sessionId)
  if (session === undefined) return
  state.sessions.delete(sessionId)
  session.granted = 0
  state.contexts.get(session.contextId)?.sessions.delete(session)
  grantContext(state, session.contextId, effects)
}

function onProgress(
  state: Worker,
  event: Extract<WorkerEvent, { kind: 'progress' }>,
  effects: WorkerEffect[],
): void {
  const context = state.contexts.get(event.contextId)
  if (context === undefined) return
  context.detail = { phase: event.phase, words: event.detail }
  for (const session of context.sessions) {
    effects.push({ kind: 'status', session: session.id, phase: event.phase, detail: event.detail })
  }
}

function onPrepared(state: Worker, contextId: string, slots: number, effects: WorkerEffect[]): void {
  const context = state.contexts.get(contextId)
  if (context === undefined) return
  context.phase = 'ready'
  context.slots = slots
  for (const session of context.sessions)
    effects.push({ kind: 'status', session: session.id, phase: 'ready' })
  grantAll(state, context, effects)
}

/** A context that cannot be had, or that is not loaded any more: its sessions are told why and ended. */
function onUnprepared(
  state: Worker,
  contextId: string,
  reason: string,
  detail: string,
  effects: WorkerEffect[],
): void {
  const context = state.contexts.get(contextId)
  if (context === undefined) return
  for (const session of context.sessions) {
    effects.push({ kind: 'status', session: session.id, phase: 'refused', reason, detail })
    endSession(state, session, reason, effects)
  }
  state.contexts.delete(contextId)
}

function onDone(
  state: Worker,
  runId: string,
  result: Omit<TaskResult, 'n' | 'epoch'>,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  const run = state.runs.get(runId)
  if (run === undefined) return
  state.runs.delete(runId)
  run.session.runs.delete(run.key.n)
  const whole: TaskResult = { ...result, ...run.key }
  state.ledger.add(ledgerKey(run.session), whole, nowMs)
  const current = currentSession(state, run.session)
  if (current !== undefined) effects.push({ kind: 'deliver', session: current.id, results: [whole] })
  grantContext(state, run.session.contextId, effects)
}

/** The session that a finished run belongs to now: its own, or the one its submitter came back with. */
function currentSession(state: Worker, session: Session): Session | undefined {
  if (state.sessions.has(session.id)) return session
  for (const other of state.sessions.values()) {
    if (other.submitter === session.submitter && other.job === session.job) return other
  }
  return undefined
}

function onOwner(state: Worker, accepts: boolean, reason: string, effects: WorkerEffect[]): void {
  state.accepts = accepts
  state.reason = reason
  if (accepts) return
  for (const session of state.sessions.values()) {
    effects.push({ kind: 'status', session: session.id, phase: 'refused', reason })
    endSession(state, session, reason, effects)
  }
}

function endSession(state: Worker, session: Session, reason: string, effects: WorkerEffect[]): void {
  for (const run of session.runs.values()) stopRun(state, run, effects)
  onLost(state, session.id, effects)
  effects.push({ kind: 'end', session: session.id, reason })
}

function grantContext(state: Worker, contextId: string, effects: WorkerEffect[]): void {
  const context = state.contexts.get(contextId)
  if (context?.phase === 'ready') grantAll(state, context, effects)
}

/** Shares a context's window equally between its sessions: each is topped up to its part. */
function grantAll(state: Worker, context: ContextView, effects: WorkerEffect[]): void {
  if (!state.accepts || context.sessions.size === 0 || state.ledger.isFull) return
  const window = Math.max(1, Math.round(context.slots * state.options.requestsPerSlot))
  const part = Math.max(1, Math.ceil(window / context.sessions.size))
  for (const session of context.sessions) {
    const missing = part - session.granted - session.runs.size
    // Small top-ups are held until they are worth a frame: the window is two batches deep.
    if (missing <= 0 || (missing < part / 8 && session.granted > 0)) continue
    session.granted += missing
    effects.push({ kind: 'credit', session: session.id, requests: missing })
  }
}
