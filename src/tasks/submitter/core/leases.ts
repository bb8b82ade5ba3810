// Decides which peer gets which request: grants, revokes and copies leases.
import { invariant, present } from '../../../base/invariants.ts'
import type { PeerView } from './candidate-book.ts'
import type { CoordinatorState, CoordinatorEffect, Lease } from './coordinator-state.ts'
import { lookEveryMs, measureWhenDue, projectedMs } from './pace.ts'
import { giveOut, isBetterLeft, slowLeases, takeBack, worthCopying, type SlowLease } from './tail.ts'
import type { LeaseKey } from '../../wire/task-messages.ts'

/**
 * Spends a peer's credit: pending requests first, copies of slow ones when none is pending. Leases of a
 * fixed size are what they are, the last one smaller, and nothing is copied.
 */
export function feed(
  state: CoordinatorState,
  view: PeerView,
  nowMs: number,
  effects: CoordinatorEffect[],
  slow?: SlowLease[],
): void {
  const { leaseSize, doubtedMax } = state.options
  // A request that failed elsewhere goes to any peer that has not failed on it.
  const mayWait = leaseSize === undefined && state.failures.size === 0 && state.doubts.size === 0
  const leases: LeaseKey[] = []
  const suits = suitsOf(state, view)
  if (mayWait && view.credit > 0 && state.pending.size > 0) measureWhenDue(state, nowMs)
  while (view.credit > 0 && state.pending.size > 0) {
    if (mayWait && isBetterLeft(view, state.book, projectedMs(state), nowMs)) break
    const request = state.pending.take(nowMs, suits, view.doubted < doubtedMax)
    if (request === undefined) break
    leases.push(lease(state, request, view, nowMs))
  }
  if (leaseSize !== undefined) {
    if (leases.length > 0) {
      view.credit = 0
      effects.push({ kind: 'lease', peer: view.peer, requests: leases.length })
    }
  } else if (view.credit > 0 && state.pending.size === 0) {
    copySlow(state, view, slow ?? slowLeases(state, nowMs), nowMs, leases)
  }
  if (view.credit > 0) state.hungry.add(view.peer)
  else state.hungry.delete(view.peer)
  if (leases.length > 0) effects.push({ kind: 'send', peer: view.peer, leases })
}

/** Whether a request that came back may go to this peer: not where it failed, and never where its error is in doubt. */
function suitsOf(
  { failures, doubts, book }: CoordinatorState,
  { peer }: PeerView,
): ((request: number) => boolean) | undefined {
  if (failures.size === 0 && doubts.size === 0) return undefined
  const mayRepeat = book.linkedCount === 1
  return (request) =>
    doubts.get(request)?.peers.includes(peer) !== true &&
    (mayRepeat || failures.get(request)?.includes(peer) !== true)
}

function lease(state: CoordinatorState, request: number, view: PeerView, nowMs: number): LeaseKey {
  invariant(!state.leases.has(request), 'a request that is pending is not leased', { request })
  // 0 where it was never leased.
  const epoch = (state.ended.get(request)?.epoch ?? 0) + 1
  state.leases.set(request, {
    request,
    epoch,
    peers: [view.peer],
    left: undefined,
    barred: state.doubts.get(request)?.peers,
    isCommitting: false,
  })
  view.credit -= 1
  giveOut(view, request, nowMs)
  return { n: request, epoch }
}

/** At the tail, copies the requests of a slow peer to a second one: the first result wins. */
function copySlow(
  state: CoordinatorState,
  view: PeerView,
  slow: SlowLease[],
  nowMs: number,
  leases: LeaseKey[],
): void {
  for (const held of worthCopying(slow, view, state.options, nowMs)) {
    held.peers.push(view.peer)
    view.credit -= 1
    giveOut(view, held.request, nowMs)
    leases.push({ n: held.request, epoch: held.epoch })
  }
}

/** Removes a peer from a request; false when it did not work on it. */
export function leaveLease(held: Lease, peer: string): boolean {
  const place = held.peers.indexOf(peer)
  if (place < 0) return false
  held.peers.splice(place, 1)
  held.left ??= []
  held.left.push(peer)
  return true
}

/** Starts the commit of a request's one result. */
export function beginCommit(held: Lease): void {
  const { request, epoch } = held
  invariant(!held.isCommitting, 'one result of a request is committed', { request, epoch })
  held.isCommitting = true
}

/** Turns the request into an error line: the error that a peer gave and none confirmed, or the submitter's own. */
export function failLease(
  state: CoordinatorState,
  held: Lease,
  code: string,
  message: string,
  effects: CoordinatorEffect[],
): void {
  beginCommit(held)
  const key = { n: held.request, epoch: held.epoch }
  const peer = state.doubts.get(held.request)?.peers.at(-1)
  if (peer === undefined) effects.push({ kind: 'fail', key, code, message })
  else effects.push({ kind: 'accept', peer, key })
}

/** The last peer stopped working on an unsettled request. */
export function endLease(
  state: CoordinatorState,
  { request, epoch, peers, left, isCommitting }: Lease,
): void {
  invariant(peers.length === 0 && !isCommitting, 'a lease ends when nobody holds it', { request, epoch })
  const holders = present(left, 'a lease that ends was held', { request, epoch })
  invariant(state.leases.delete(request), 'a lease ends once', { request, epoch })
  state.ended.set(request, { epoch, holders })
}

/** Revokes all leases of a peer; each request goes to the next peer under a new epoch. */
export function releasePeer(
  state: CoordinatorState,
  view: PeerView,
  nowMs: number,
  effects: CoordinatorEffect[],
  isLoss = true,
): void {
  const { peer } = view
  state.hungry.delete(peer)
  view.credit = 0
  const outstanding = view.outstanding.keys().sort((a, b) => a - b)
  for (const request of outstanding) {
    takeBack(view, request, false, nowMs)
    const held = present(state.leases.get(request), 'what is out is leased', { request, peer })
    invariant(leaveLease(held, peer), 'what a peer has out it holds', { request, peer })
    if (held.isCommitting || held.peers.length > 0) continue
    const losses = (state.losses.get(request) ?? 0) + (isLoss ? 1 : 0)
    state.losses.set(request, losses)
    if (isLoss && losses >= state.options.lossesMax) {
      const message = `${losses} peers were lost while they ran this request`
      failLease(state, held, 'peers-lost', message, effects)
    } else {
      giveBack(state, held, nowMs, nowMs, effects)
    }
  }
}

/** Queues the request for any peer with credit, from `notBeforeMs` on. */
export function giveBack(
  state: CoordinatorState,
  held: Lease,
  notBeforeMs: number,
  nowMs: number,
  effects: CoordinatorEffect[],
): void {
  endLease(state, held)
  state.pending.giveBack(held.request, notBeforeMs)
  if (notBeforeMs <= nowMs) feedHungry(state, nowMs, effects)
}

/** Spends the credit of idle peers; copies for them are considered only from time to time. */
export function feedHungry(state: CoordinatorState, nowMs: number, effects: CoordinatorEffect[]): void {
  if (state.hungry.size === 0) return
  const mayCopy = nowMs >= state.lookAtMs && state.options.leaseSize === undefined
  if (nowMs >= state.lookAtMs) state.lookAtMs = nowMs + lookEveryMs(state, nowMs)
  state.fedAtMs = nowMs
  let slow: SlowLease[] | undefined
  for (const peer of state.hungry) {
    if (state.pending.size === 0) {
      slow ??= mayCopy ? slowLeases(state, nowMs) : []
      if (slow.length === 0) return
    }
    feed(state, present(state.book.get(peer), 'a hungry peer is known', { peer }), nowMs, effects, slow)
  }
}
