import { present } from '../../../base/invariants.ts'
import type { CandidateBook, PeerView } from './candidate-book.ts'
import type { CoordinatorState, CoordinatorOptions, Lease } from './coordinator-state.ts'

/** Leases considered for a copy, the oldest first. */
const LOOK_AT_MAX = 256
/** A peer counts as stalled after `STALLED_TIMES` × its usual time plus `STALLED_MS`. */
const STALLED_TIMES = 2
const STALLED_MS = 250
/** Weight of the newest time in the moving average of a request's time. */
const NEWEST_WEIGHT = 0.1

/** Notes that a request is sent to a peer. */
export function giveOut(view: PeerView, request: number, nowMs: number): void {
  if (view.outstanding.size === 0) view.progressAtMs = nowMs
  view.outstanding.set(request, nowMs)
  view.rate.begin(nowMs)
}

/** Notes that a peer answered a request, or that its lease was revoked. */
export function takeBack(view: PeerView, request: number, isAnswered: boolean, nowMs: number): void {
  const sentAtMs = view.outstanding.get(request)
  // A copy may be answered before it is cancelled, and any peer may answer twice.
  if (sentAtMs === undefined) return
  view.outstanding.delete(request)
  view.rate.end(isAnswered ? 1 : 0, nowMs)
  if (!isAnswered) return
  const tookMs = nowMs - sentAtMs
  view.progressAtMs = nowMs
  view.tookMs = view.tookMs === 0 ? tookMs : view.tookMs + (tookMs - view.tookMs) * NEWEST_WEIGHT
}

/** Results per second of all peers that have work, as far as they are known. */
export function totalRate(book: CandidateBook, nowMs: number): number {
  let perSecond = 0
  for (const view of book.linked()) {
    if (!isStalled(view, nowMs)) perSecond += view.rate.perSecond(nowMs) ?? 0
  }
  return perSecond
}

/**
 * Whether a request had better wait for another peer: this one would answer it after the rest of the job
 * is done (`projectedMs`), and another that is at work sooner.
 */
export function isBetterLeft(
  view: PeerView,
  book: CandidateBook,
  projectedMs: number,
  nowMs: number,
): boolean {
  const ownMs = answerMs(view, nowMs)
  if (ownMs === undefined || ownMs <= projectedMs) return false
  for (const other of book.linked()) {
    if (other !== view && (answerMs(other, nowMs) ?? Infinity) < ownMs) return true
  }
  return false
}

/** A leased request that may be copied, and the expected remaining time of its holders. */
export interface SlowLease {
  lease: Lease
  leftMs: number
}

/** The leased requests that may be copied, the slowest first. */
export function slowLeases({ leases, book, options }: CoordinatorState, nowMs: number): SlowLease[] {
  const slow: SlowLease[] = []
  let looked = 0
  for (const lease of leases.values()) {
    if ((looked += 1) > LOOK_AT_MAX) break
    if (lease.isCommitting || lease.peers.length >= options.copiesMax) continue
    const left = leftMs(lease, book, options.copyAfterMs, nowMs)
    if (left >= options.copyGainMs) slow.push({ lease, leftMs: left })
  }
  return slow.sort((a, b) => b.leftMs - a.leftMs || a.lease.request - b.lease.request)
}

/** Takes the requests with the largest gain out of `slow` for an idle peer, as far as its credit allows. */
export function worthCopying(
  slow: SlowLease[],
  view: PeerView,
  { copyGainMs }: Pick<CoordinatorOptions, 'copyGainMs'>,
  nowMs: number,
): Lease[] {
  const leastMs = (answerMs(view, nowMs) ?? 0) + copyGainMs
  const worth: Lease[] = []
  if (leastMs === Infinity) return worth
  for (let at = 0; at < slow.length && worth.length < view.credit;) {
    const { lease, leftMs: left } = slow[at] as SlowLease
    if (left < leastMs) break
    if (lease.peers.includes(view.peer) || lease.barred?.includes(view.peer) === true) at += 1
    else {
      slow.splice(at, 1)
      worth.push(lease)
    }
  }
  return worth
}

/**
 * How long the holders of a lease will still take, as far as can be told: one that is over its usual time is
 * expected to take as long again, and one of which nothing is known is given `graceMs`.
 */
function leftMs({ request, peers }: Lease, book: CandidateBook, graceMs: number, nowMs: number): number {
  let soonestMs = Infinity
  for (const peer of peers) {
    const view = present(book.get(peer), 'a lease is held by peers that are known', { request, peer })
    if (isStalled(view, nowMs)) continue
    const sentAtMs = view.outstanding.get(request)
    const ageMs = nowMs - present(sentAtMs, 'who holds a lease was sent its request', { request, peer })
    const usualMs = view.tookMs === 0 ? graceMs : view.tookMs
    if (ageMs < usualMs) soonestMs = Math.min(soonestMs, view.tookMs === 0 ? 0 : usualMs - ageMs)
    else soonestMs = Math.min(soonestMs, ageMs)
  }
  return soonestMs
}

/** Expected time of a peer to answer one more request, ms; undefined while unknown. */
function answerMs(view: PeerView, nowMs: number): number | undefined {
  const perSecond = view.rate.perSecond(nowMs)
  if (perSecond === undefined) return undefined
  if (isStalled(view, nowMs)) return Infinity
  return Math.max(view.tookMs, (1_000 * (view.outstanding.size + 1)) / perSecond)
}

function isStalled({ outstanding, tookMs, progressAtMs }: PeerView, nowMs: number): boolean {
  return outstanding.size > 0 && tookMs > 0 && nowMs - progressAtMs > STALLED_TIMES * tookMs + STALLED_MS
}
