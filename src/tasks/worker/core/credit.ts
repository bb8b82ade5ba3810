import type { ContextView, Session, WorkerState, WorkerEffect } from './worker-state.ts'

/** Grants the sessions of a context their share of the credit. */
export function grantCredit(
  state: WorkerState,
  context: ContextView,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  if (!state.accepts || context.sessions.length === 0 || state.ledger.isFull) return
  if (state.options.evaluate !== 'pervasive') grantNextLease(context, effects)
  else if (context.phase === 'ready') shareWindow(state, context, nowMs, effects)
}

/** Shares a context's window equally between submitters, and the part of each between its sessions. */
function shareWindow(state: WorkerState, context: ContextView, nowMs: number, effects: WorkerEffect[]): void {
  const window = windowOf(state, context, nowMs)
  for (const session of context.sessions) {
    if (session.leaseSize !== undefined) {
      if (session.lease === undefined) give(session, session.leaseSize - session.granted, effects)
      continue
    }
    const shares = context.shares.size * session.share.sessions
    const part = Math.max(1, Math.ceil(window / shares))
    const missing = part - session.granted - session.waiting.length - session.runs.size
    // Small top-ups are held until they are worth a frame: the window is two batches deep.
    if (missing < part / 8 && session.granted > 0) continue
    give(session, missing, effects)
  }
}

/** The window: the slots plus the requests that they answer in a short while, so that no slot runs dry. */
function windowOf({ options }: WorkerState, context: ContextView, nowMs: number): number {
  const { slots } = context
  const perSecond = context.rate.perSecond(nowMs)
  const windowMax = Math.max(slots, options.windowMax)
  if (perSecond === undefined) return Math.min(Math.max(1, slots * options.requestsPerSlot), windowMax)
  const ahead = Math.ceil((perSecond * options.lookAheadMs) / 1_000)
  return Math.min(slots + Math.max(1, ahead), windowMax)
}

/** Grants one lease at a time, session by session: the context is loaded for each lease. */
function grantNextLease(context: ContextView, effects: WorkerEffect[]): void {
  if (context.phase !== 'idle') return
  for (const { granted, lease } of context.sessions) if (granted > 0 || lease !== undefined) return
  const [next] = context.sessions
  if (next?.leaseSize !== undefined) give(next, next.leaseSize, effects)
}

function give(session: Session, requests: number, effects: WorkerEffect[]): void {
  if (requests <= 0) return
  session.granted += requests
  effects.push({ kind: 'credit', session: session.id, requests })
}
