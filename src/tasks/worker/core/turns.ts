// Shares the time of an engine's slots between submitters: start-time fair queueing, by the time that their
// requests take. The engine is taken to fill its slots in the order in which it got its runs.
import { invariant } from '../../../base/invariants.ts'
import type { ContextView, Run, Session, Share } from './worker-state.ts'

/** The weight of the last result in the usual time of a request. */
const LAST_SHARE = 1 / 8

export function createShare(): Share {
  return {
    sessions: 0,
    usedMs: 0,
    requestMs: 0,
    out: 0,
    inSlots: 0,
    slotAtSumMs: 0,
    usedAtMs: 0,
    isActive: false,
  }
}

/**
 * The next session of the submitter that used the least slot time. A submitter that was idle for a while
 * starts at the present turn: idle time earns no extra share.
 */
export function nextInTurn(context: ContextView, nowMs: number): Session | undefined {
  let next: Session | undefined
  let first = Infinity
  for (const session of context.sessions) {
    if (session.waiting.length === 0) continue
    const own = usedMs(session.share, context, nowMs)
    if (own >= first) continue
    next = session
    first = own
  }
  if (next === undefined) return undefined
  const { share } = next
  if (context.inSlots >= context.slots && !mayQueue(share, first, context, nowMs)) return undefined
  context.turn = Math.max(context.turn, first)
  if (share.out === 0) share.usedMs = first
  putLast(next)
  return next
}

/**
 * Whether a submitter may have a run ahead of a free slot: only the one that used least. Otherwise one whose
 * requests are long would get each slot in which the next request of another is still on its way.
 */
function mayQueue(share: Share, ownMs: number, context: ContextView, nowMs: number): boolean {
  if (context.shares.size === 1) return true
  for (const other of context.shares.values()) {
    if (other === share || other.out === 0) continue
    if (usedMs(other, context, nowMs) + share.requestMs < ownMs) return false
  }
  return true
}

/** Slot time of a submitter: of its finished runs, and of the others as expected, or as measured where that is more. */
function usedMs(share: Share, { turn, usualMs }: ContextView, nowMs: number): number {
  if (share.out === 0) return Math.max(turn, share.usedMs)
  const expectedMs = share.out * (share.requestMs || usualMs || 1)
  return share.usedMs + Math.max(expectedMs, share.inSlots * nowMs - share.slotAtSumMs)
}

export function putLast(session: Session): void {
  const { sessions } = session.context
  const place = sessions.indexOf(session)
  invariant(place >= 0, 'a session that is put last takes part in its context', { session: session.id })
  if (place === sessions.length - 1) return
  sessions.splice(place, 1)
  sessions.push(session)
}

/** A run is handed to the engine: it has a slot, or is ahead of the next free one. */
export function enterSlot(run: Run, nowMs: number): void {
  const { context, share } = run
  share.out += 1
  if (context.inSlots < context.slots) occupy(run, nowMs)
  else context.ahead.push(run)
}

function occupy(run: Run, nowMs: number): void {
  const { context, share } = run
  run.slotAtMs = nowMs
  run.progressAtMs = nowMs
  context.inSlots += 1
  share.inSlots += 1
  share.slotAtSumMs += nowMs
}

/** A run is over, and its submitter is charged for its slot time. Only an answer tells what is usual. */
export function leaveSlot(run: Run, isAnswered: boolean, nowMs: number): void {
  const { context, share, slotAtMs } = run
  share.out -= 1
  if (slotAtMs === undefined) {
    const place = context.ahead.indexOf(run)
    invariant(place >= 0, 'a run without a slot waits for one', { run: run.id })
    context.ahead.splice(place, 1)
  } else {
    const tookMs = Math.max(0, nowMs - slotAtMs)
    context.inSlots -= 1
    share.inSlots -= 1
    share.slotAtSumMs = share.inSlots === 0 ? 0 : share.slotAtSumMs - slotAtMs
    share.usedMs += tookMs
    if (isAnswered) {
      share.requestMs = usual(share.requestMs, tookMs)
      context.usualMs = usual(context.usualMs, tookMs)
    }
    const next = context.ahead.shift()
    if (next !== undefined) occupy(next, nowMs)
  }
  if (share.out === 0 && share.sessions === 0) context.absent.delete(run.session.submitter)
}

function usual(beforeMs: number, tookMs: number): number {
  return beforeMs === 0 ? tookMs : beforeMs + LAST_SHARE * (tookMs - beforeMs)
}
