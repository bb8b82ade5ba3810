import { impossible, invariant } from '../../../base/invariants.ts'
import type { ContextView, Session, Share, WorkerState } from './worker-state.ts'

/** How many entries of the state a check walks. */
export function sizeOf({ sessions, contexts, runs, ledger }: WorkerState): number {
  return sessions.size + contexts.size + runs.size + ledger.entries
}

/** Throws `internal` when an invariant of a serving peer does not hold between two steps. */
export function checkWorker(state: WorkerState): void {
  const { options, accepts, isDraining, sessions, touched } = state
  invariant(touched.length === 0, 'a step looks at every context that it touched', { left: touched.length })
  invariant(sessions.size <= options.sessionsMax, 'no more sessions are served than may be')
  invariant(!accepts || !isDraining, 'a peer that drains takes nothing new')
  const hasNone = accepts || isDraining || sessions.size === 0
  invariant(hasNone, 'a paused peer has no sessions', { sessions: sessions.size })
  for (const [id, session] of sessions) checkSession(state, id, session)
  for (const [contextId, context] of state.contexts) checkContext(state, contextId, context)
  checkOnePerJob(state)
  checkRuns(state)
  for (const context of state.contexts.values()) checkSlots(context)
  checkShares(state)
  state.ledger.check()
}

function checkSession({ contexts }: WorkerState, id: string, session: Session): void {
  const { context, contextId, share, submitter } = session
  invariant(session.id === id, 'a session is filed under its id', { session: id, filed: session.id })
  invariant(contexts.get(contextId) === context, 'the context of a session is there', {
    session: id,
    contextId,
  })
  const times = context.sessions.filter((other) => other === session).length
  invariant(times === 1, 'a session takes part in its context once', { session: id, times })
  invariant(context.shares.get(submitter) === share, 'a session has the share of its submitter', {
    session: id,
  })
  checkCredit(session)
}

function checkCredit({ id, context, granted, waiting, runs, lease, leaseSize }: Session): void {
  invariant(granted >= 0, 'credit is not negative', { session: id, granted })
  if (lease === undefined) return
  const { toArrive, left } = lease
  const inHand = toArrive + waiting.length + runs.size
  invariant(leaseSize !== undefined, 'only a session with a lease size has a lease', { session: id })
  invariant(granted === 0, 'a lease uses up its credit', { session: id, granted })
  invariant(left > 0 && toArrive >= 0, 'a lease has requests that are not done', {
    session: id,
    left,
    toArrive,
  })
  invariant(inHand <= left, 'what is in hand of a lease is not done', { session: id, inHand, left })
  const phase = context.phase
  invariant(phase !== 'idle', 'the context of a lease is prepared', { session: id, phase })
}

function checkContext(state: WorkerState, contextId: string, context: ContextView): void {
  const { phase, slots, running, sessions, shares, isDropped, isTouched } = context
  invariant(context.contextId === contextId, 'a context is filed under its id', { contextId })
  invariant(!isDropped, 'a context that was dropped is gone', { contextId })
  invariant(!isTouched, 'a step looks at every context that it touched', { contextId })
  invariant(phase !== 'ready' || slots > 0, 'a context that is ready has slots', { contextId, slots })
  invariant(running === 0 || phase === 'ready', 'requests run on a context that is ready', {
    contextId,
    phase,
  })
  for (const { id } of sessions)
    invariant(state.sessions.has(id), 'the sessions of a context are open', { contextId, session: id })
  let shared = 0
  for (const [submitter, share] of shares) {
    const own = sessions.filter((session) => session.submitter === submitter).length
    invariant(own > 0 && own === share.sessions, 'the sessions of a submitter are counted', {
      submitter,
      own,
    })
    shared += own
  }
  invariant(shared === sessions.length, 'every session has a share', { contextId, shared })
  // The engine is given at least so many: twice its slots, unless others with longer requests would fill them.
  const isWaiting = phase === 'ready' && sessions.some(({ waiting }) => waiting.length > 0)
  invariant(
    !isWaiting || running >= (shares.size === 1 ? 2 : 1) * slots,
    'nothing waits while a slot is free',
    {
      contextId,
      running,
      slots,
    },
  )
}

/** Runs have a slot or are ahead of one, and a submitter is charged for its own. */
function checkSlots({ contextId, phase, slots, running, inSlots, ahead, shares, absent }: ContextView): void {
  const isCounted = inSlots + ahead.length === running && inSlots <= Math.max(slots, running)
  invariant(isCounted, 'a run has a slot or is ahead of one', { contextId, inSlots, ahead: ahead.length })
  const isFull = ahead.length === 0 || inSlots >= slots || phase !== 'ready'
  invariant(isFull, 'nothing is ahead while a slot is free', { contextId, inSlots, slots })
  for (const [submitter, { sessions, out }] of absent) {
    const isAbsent = sessions === 0 && out > 0 && !shares.has(submitter)
    invariant(isAbsent, 'an absent submitter has only runs', { contextId, submitter, sessions, out })
  }
}

/** Whose runs are in the engine, and which of them have a slot. */
function checkShares({ runs }: WorkerState): void {
  const perShare = new Map<Share, { out: number; inSlots: number }>()
  for (const { share, slotAtMs } of runs.values()) {
    const counted = perShare.get(share) ?? { out: 0, inSlots: 0 }
    counted.out += 1
    if (slotAtMs !== undefined) counted.inSlots += 1
    perShare.set(share, counted)
  }
  for (const [{ out, inSlots }, counted] of perShare) {
    const isCounted = out === counted.out && inSlots === counted.inSlots
    invariant(isCounted, 'the runs of a submitter are counted', { out, inSlots, counted: counted.out })
  }
}

function checkOnePerJob({ sessions }: WorkerState): void {
  const jobs = new Set<string>()
  for (const { submitter, job } of sessions.values()) {
    const key = JSON.stringify([submitter, job])
    invariant(!jobs.has(key), 'a job of a submitter has one session', { submitter, job })
    jobs.add(key)
  }
}

/** Runs are known by their id, to their session and to their context. */
function checkRuns({ runs, sessions, contexts, nextRun }: WorkerState): void {
  const perContext = new Map<ContextView, number>()
  const holders = new Set(sessions.values())
  for (const run of runs.values()) {
    const { id, session, context, request } = run
    if (runs.get(id) !== run || id >= nextRun) throw impossible('a run is filed under its id', { run: id })
    if (session.runs.get(request.n) !== run || session.context !== context)
      throw impossible('a run is known to its session', { run: id, session: session.id })
    holders.add(session)
    perContext.set(context, (perContext.get(context) ?? 0) + 1)
  }
  let held = 0
  for (const session of holders) held += session.runs.size
  invariant(held === runs.size, 'sessions have no other runs', { held, runs: runs.size })
  for (const context of new Set([...contexts.values(), ...perContext.keys()])) {
    const { contextId, running } = context
    const counted = perContext.get(context) ?? 0
    invariant(running === counted, 'the runs of a context are counted', { contextId, running, counted })
  }
}
