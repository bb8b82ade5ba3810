// Decides when an error that a peer reports is final. A damaged disk or a liar turns good requests into errors,
// so a second peer must say the same, unless none is there.
import { invariant, present } from '../../../base/invariants.ts'
import type { CoordinatorEffect, CoordinatorEvent, CoordinatorState, Doubt } from './coordinator-state.ts'
import { beginCommit, endLease, feedHungry, leaveLease } from './leases.ts'

type Result = Extract<CoordinatorEvent, { kind: 'result' }>

/** How often doubts are looked at, ms. */
const REVIEW_EVERY_MS = 250
/** A judge that is slow has this many times the usual time of a request, if that is longer than `judgeMs`. */
const JUDGE_TIMES = 3

/** Whether an error needs no further peer: it is this submitter's own, or given twice, or by many peers. */
export function isFinal({ options, doubts }: CoordinatorState, { peer, key, code = '' }: Result): boolean {
  const doubt = doubts.get(key.n)
  const peers = 1 + (doubt?.peers.length ?? 0)
  return peer === options.ownPeer || peers >= options.failedPeersMax || doubt?.codes.includes(code) === true
}

/** An error that a peer gave is kept, and its request goes to another peer. */
export function doubt(
  state: CoordinatorState,
  { peer, key, code = '' }: Result,
  nowMs: number,
  effects: CoordinatorEffect[],
): void {
  const { peers = [], codes = [] } = state.doubts.get(key.n) ?? {}
  const doubted = { peers: [...peers, peer], codes: [...codes, code], sinceMs: nowMs }
  state.doubts.set(key.n, doubted)
  const view = state.book.get(peer)
  if (view !== undefined) view.doubted += 1
  effects.push({ kind: 'doubt', peer, key, code }, { kind: 'acknowledge', peer, keys: [key] })
  const held = state.leases.get(key.n)
  if (held !== undefined) {
    held.barred = doubted.peers
    leaveLease(held, peer)
    if (held.peers.length === 0) {
      endLease(state, held)
      state.pending.giveBack(key.n, nowMs)
    }
  } else {
    // It was redelivered, and its turn may be to come: as one that came back it goes to another peer only.
    invariant(state.pending.settle(key.n), 'what is redelivered is pending', { request: key.n })
    state.pending.giveBack(key.n, nowMs)
  }
  if (state.doubts.size === 1) state.reviewAtMs = nowMs
  // A peer that may judge need not wait for the next clock tick to be recruited.
  if (wantsJudge(state)) state.recruitAtMs = nowMs
  review(state, key.n, doubted, nowMs, effects)
  feedHungry(state, nowMs, effects)
}

/** Whether a request waits for a second peer, and none is linked. */
export function wantsJudge({ doubts, book }: CoordinatorState): boolean {
  return doubts.size > 0 && book.linkedCount < 2
}

/** Accepts the errors for which no second peer came in time. */
export function reviewDoubts(state: CoordinatorState, nowMs: number, effects: CoordinatorEffect[]): void {
  if (state.doubts.size === 0 || nowMs < state.reviewAtMs) return
  state.reviewAtMs = nowMs + REVIEW_EVERY_MS
  for (const [request, doubted] of state.doubts) review(state, request, doubted, nowMs, effects)
}

/** A request is settled. */
export function forgetDoubt({ doubts, book }: CoordinatorState, request: number): void {
  for (const peer of doubts.get(request)?.peers ?? []) {
    const view = book.get(peer)
    // A peer that was forgotten and found again has none.
    if (view !== undefined && view.doubted > 0) view.doubted -= 1
  }
  doubts.delete(request)
}

function review(
  state: CoordinatorState,
  request: number,
  { peers, sinceMs }: Doubt,
  nowMs: number,
  effects: CoordinatorEffect[],
): void {
  const held = state.leases.get(request)
  if (held?.isCommitting === true || state.committing.has(request)) return
  const { options, pace } = state
  const isLate = nowMs - sinceMs >= Math.max(options.judgeMs, JUDGE_TIMES * pace.requestMs)
  const aloneSinceMs = Math.min(sinceMs, state.companyAtMs)
  const isAlone = nowMs - aloneSinceMs >= options.aloneMs
  const mayCome = held !== undefined || hasJudge(state, request, peers)
  if (!isLate && (mayCome || !isAlone)) return
  const peer = present(peers.at(-1), 'what is in doubt came from a peer', { request })
  if (held === undefined) {
    const { epoch } = present(state.ended.get(request), 'what is in doubt was leased', { request })
    invariant(state.pending.settle(request), 'what waits for a second peer is pending', { request })
    state.committing.add(request)
    effects.push({ kind: 'accept', peer, key: { n: request, epoch } })
  } else {
    beginCommit(held)
    effects.push({ kind: 'accept', peer, key: { n: request, epoch: held.epoch } })
  }
}

/** Whether another peer can give a second opinion on a request. */
function hasJudge({ book, failures }: CoordinatorState, request: number, peers: readonly string[]): boolean {
  const failed = failures.get(request)
  for (const { peer } of book.judges()) {
    if (!peers.includes(peer) && failed?.includes(peer) !== true) return true
  }
  return false
}
