import type { ContextView, Session, WorkerState, WorkerEffect } from './worker-state.ts'

/** Grants the sessions of a context their share of the credit. */
export function grantCredit(
  state: WorkerState,
  context: ContextView,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  if (!state.accepts || context.sessions.length === 0) return
  if (state.options.evaluate !== 'pervasive') grantNextLease(state, context, nowMs, effects)
  else if (context.phase === 'ready') shareWindow(state, context, nowMs, effects)
}

/** A submitter that leaves its credit unused for so long has no part in the window until it uses it. */
const UNUSED_MS = 2_000

/**
 * Shares a context's window equally between submitters, and the part of each between its sessions. Those that do not
 * use their credit, or do not acknowledge their results, leave their part to the others.
 */
function shareWindow(state: WorkerState, context: ContextView, nowMs: number, effects: WorkerEffect[]): void {
  const window = windowOf(state, context, nowMs)
  const active = activeShares(state, context, nowMs)
  for (const session of context.sessions) {
    if (state.ledger.isFull(session.results)) continue
    if (session.leaseSize !== undefined) {
      if (session.lease === undefined) give(session, session.leaseSize - session.granted, nowMs, effects)
      continue
    }
    if (!session.share.isActive) continue
    const shares = active * session.share.sessions
    const part = Math.max(1, Math.ceil(window / shares))
    const missing = part - session.granted - session.waiting.length - session.runs.size
    // Small top-ups are held until they are worth a frame: the window is two batches deep.
    if (missing < part / 8 && session.granted > 0) continue
    give(session, missing, nowMs, effects)
  }
}

/** Marks the submitters that have a part in the window, and counts them. */
function activeShares({ ledger }: WorkerState, { shares, sessions }: ContextView, nowMs: number): number {
  let active = 0
  for (const share of shares.values()) {
    // A single one has no others to leave its part to.
    share.isActive = shares.size === 1 || nowMs - share.usedAtMs < UNUSED_MS
    if (share.isActive) active += 1
  }
  if (shares.size === 1) return 1
  for (const { share, granted, waiting, runs, results } of sessions) {
    if (ledger.isFull(results)) {
      if (share.isActive) active -= 1
      share.isActive = false
    } else if (!share.isActive && (granted === 0 || waiting.length > 0 || runs.size > 0)) {
      share.isActive = true
      active += 1
    }
  }
  return active
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
function grantNextLease(
  { ledger }: WorkerState,
  context: ContextView,
  nowMs: number,
  effects: WorkerEffect[],
): void {
  if (context.phase !== 'idle') return
  for (const { granted, lease } of context.sessions) if (granted > 0 || lease !== undefined) return
  const [next] = context.sessions
  if (next?.leaseSize === undefined || ledger.isFull(next.results)) return
  give(next, next.leaseSize, nowMs, effects)
}

function give(session: Session, requests: number, nowMs: number, effects: WorkerEffect[]): void {
  if (requests <= 0) return
  if (session.granted === 0) session.share.usedAtMs = nowMs
  session.granted += requests
  effects.push({ kind: 'credit', session: session.id, requests })
}
