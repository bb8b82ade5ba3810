import { type Random, pick, randomBetween } from '../../../base/random.ts'
import type { ReplicationEffect } from './replication-events.ts'
import { otherCopies, ownsCopy } from './replication-count.ts'
import { look, wakeAt } from './replication-plan.ts'
import type { ContextView, Replication } from './replication-state.ts'

export function onAudited(
  state: Replication,
  context: ContextView,
  peer: string,
  outcome: 'held' | 'lied' | 'unknown',
  nowMs: number,
): void {
  if (outcome === 'held') context.doubts.delete(peer)
  if (outcome !== 'lied') return
  strike(state, context, peer, nowMs)
  context.nextAuditMs = Math.min(context.nextAuditMs, nowMs + state.options.auditAgainMs)
}

/** A peer with enough strikes is not counted for a while. */
export function strike(state: Replication, context: ContextView, peer: string, nowMs: number): void {
  const { auditStrikesMax, doubtMs, holdersMax } = state.options
  const strikes = (context.doubts.get(peer)?.strikes ?? 0) + 1
  if (context.doubts.size >= holdersMax && strikes === 1) return
  context.doubts.set(peer, { strikes, untilMs: strikes >= auditStrikesMax ? nowMs + doubtMs : 0 })
}

/** Holders check one another: which ones are still alive, and whether they have their copies. */
export function careForHolders(
  state: Replication,
  context: ContextView,
  nowMs: number,
  random: Random,
  effects: ReplicationEffect[],
): void {
  if (!ownsCopy(state, context)) {
    context.nextLookMs = Number.POSITIVE_INFINITY
    context.nextAuditMs = Number.POSITIVE_INFINITY
    return
  }
  if (nowMs >= context.nextLookMs && !context.isLooking) look(context, effects)
  if (nowMs >= context.nextAuditMs) {
    const peer = auditee(state, context, nowMs, random)
    if (peer !== undefined) effects.push({ kind: 'audit', contextId: context.contextId, peer })
  }
  const next = (atMs: number, periodMs: number): number =>
    atMs > nowMs && Number.isFinite(atMs) ? atMs : nowMs + randomBetween(random, 0.5, 1.5) * periodMs
  context.nextLookMs = next(context.nextLookMs, state.options.lookEveryMs)
  context.nextAuditMs = next(context.nextAuditMs, state.options.auditEveryMs)
  wakeAt(state, context, Math.min(context.nextLookMs, context.nextAuditMs))
}

/** Peers with a strike come first. */
function auditee(
  state: Replication,
  context: ContextView,
  nowMs: number,
  random: Random,
): string | undefined {
  const others = otherCopies(state, context, nowMs)
  return others.find((peer) => context.doubts.has(peer)) ?? pick(random, others)
}
