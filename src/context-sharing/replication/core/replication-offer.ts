import type { DeclineCode, ReplicationEffect, ReplicationEvent } from './replication-events.ts'
import { isDoubted, otherCopies } from './replication-count.ts'
import { beginPull } from './replication-plan.ts'
import { hasRoomFor } from './replication-room.ts'
import { type ContextView, type Replication, viewOf } from './replication-state.ts'

/** Another peer asks this one to take a copy. */
export function onOffered(
  state: Replication,
  event: Extract<ReplicationEvent, { kind: 'offered' }>,
  nowMs: number,
  effects: ReplicationEffect[],
): void {
  const { peer, contextId, bytes, why } = event
  const context = viewOf(state, contextId, true)
  if (context === undefined) return
  context.bytes ??= bytes
  const code = whyDecline(state, context, event, nowMs)
  if (code !== undefined) return void effects.push({ kind: 'decline', contextId, peer, code })
  effects.push({ kind: 'accept', contextId, peer })
  if (context.pull !== undefined || context.own.isFetching) return
  beginPull(state, context, why, nowMs, effects)
}

function whyDecline(
  state: Replication,
  context: ContextView,
  { peer, bytes, why, copies }: Extract<ReplicationEvent, { kind: 'offered' }>,
  nowMs: number,
): DeclineCode | undefined {
  const { options } = state
  if (!context.holders.has(peer) || isDoubted(context, peer, nowMs)) return 'unclaimed'
  if (state.isDraining) return 'draining'
  if (context.own.tier === 'stored' || context.own.tier === 'warm') return 'held'
  if (context.pull !== undefined || context.own.isFetching) return undefined
  if (!options.isTaking) return 'opted-out'
  if (!hasRoomFor(state, context, bytes, nowMs)) return 'no-room'
  if (state.pulls >= (why === 'drain' ? options.offeredPullsMax : options.pullsMax)) return 'busy'
  // He may know of a holder that lies; we believe him that far, and no farther.
  const known = otherCopies(state, context, nowMs).filter((other) => other !== peer).length
  if (copies >= options.copiesWanted || known >= options.copiesMax) return 'enough'
  return undefined
}

export function onOfferAnswered(
  state: Replication,
  context: ContextView,
  { peer, isAccepted, isHeld }: Extract<ReplicationEvent, { kind: 'offer-answered' }>,
  nowMs: number,
): void {
  const { offerLeaseMs, declinedMs } = state.options
  if (isAccepted && !isHeld) {
    // Its advert may be quicker than its answer: then what the advert says counts, and not the offer too.
    const holding = context.holders.get(peer)
    const isToCome = holding === undefined || (holding.tier === 'partial' && !holding.isFetching)
    if (isToCome) context.offers.set(peer, nowMs + offerLeaseMs)
    return
  }
  context.offers.delete(peer)
  context.declined.set(peer, nowMs + declinedMs)
}
