import { isCheckDue } from '../../../base/invariants.ts'
import type { Random } from '../../../base/random.ts'
import { backoffMs } from '../../../base/waiting/backoff.ts'
import { careForHolders, onAudited, strike } from './replication-care.ts'
import { checkReplication } from './replication-check.ts'
import { otherCopies } from './replication-count.ts'
import { planDrain } from './replication-drain.ts'
import type { ReplicationEffect, ReplicationEvent } from './replication-events.ts'
import { onOwn, onPeer, onPeerLost, onPeerSilent } from './replication-learn.ts'
import { onOfferAnswered, onOffered } from './replication-offer.ts'
import { reconsider } from './replication-plan.ts'
import type { Replication } from './replication-state.ts'

export type { ReplicationEffect, ReplicationEvent, SaidContext } from './replication-events.ts'
export { type DropAnswer, mayDrop, takesNow } from './replication-count.ts'
export { onlyHere } from './replication-drain.ts'
export { REPLICATION_DEFAULTS, newReplication, withGrace } from './replication-state.ts'
export type { Replication, ReplicationCode, ReplicationOptions } from './replication-state.ts'

/*
 * Decides how many copies of a context the swarm keeps, and which peer makes the next. Every peer runs this on the
 * adverts it sees; no peer leads. A lost copy still counts for a grace, since most come back. Then the
 * neighbours of the context's key take turns by how near they are: the first fetches, its advert says
 * so, and the others see it. A surplus copy is harmless and is kept. sim/ runs this
 * same code. docs/protocol/replica.md, docs/decisions/0005-replication.md.
 */

/** Takes one event and returns its effects. The only function that changes a `Replication`. */
export function step(
  state: Replication,
  event: ReplicationEvent,
  nowMs: number,
  random: Random,
): ReplicationEffect[] {
  const effects: ReplicationEffect[] = []
  for (const contextId of apply(state, event, nowMs, effects)) {
    const context = state.contexts.get(contextId)
    if (context === undefined || state.isDraining) continue
    reconsider(state, context, nowMs, random, effects)
    careForHolders(state, context, nowMs, random, effects)
  }
  if (state.isDraining) planDrain(state, nowMs, effects)
  if (isCheckDue(state, state.peers.size + state.contexts.size)) checkReplication(state)
  return effects
}

/** When a `tick` is due without an event; undefined when none is. */
export function nextTickMs({ wakes }: Replication): number | undefined {
  let nextMs = Number.POSITIVE_INFINITY
  for (const ms of wakes.values()) nextMs = Math.min(nextMs, ms)
  return nextMs === Number.POSITIVE_INFINITY ? undefined : nextMs
}

/** Takes the event in; returns the contexts to think of again. */
function apply(
  state: Replication,
  event: ReplicationEvent,
  nowMs: number,
  effects: ReplicationEffect[],
): Iterable<string> {
  switch (event.kind) {
    case 'peer':
      return onPeer(state, event, nowMs)
    case 'peer-silent':
      return onPeerSilent(state, event.peer, event.heardMs, effects)
    case 'peer-lost':
      return onPeerLost(state, event.peer, event.heardMs)
    case 'own':
      return onOwn(state, event)
    case 'room':
      state.roomBytes = event.bytes
      return []
    case 'pulled':
      return onPulled(state, event, nowMs)
    case 'offered':
      onOffered(state, event, nowMs, effects)
      return [event.contextId]
    case 'drain':
      return onDrain(state, effects)
    case 'tick':
      return dueContexts(state, nowMs)
    default:
      onContextEvent(state, event, nowMs)
      return [event.contextId]
  }
}

function dueContexts({ wakes }: Replication, nowMs: number): string[] {
  const due = [...wakes].filter(([, ms]) => ms <= nowMs).map(([contextId]) => contextId)
  for (const contextId of due) wakes.delete(contextId)
  return due
}

function onContextEvent(
  state: Replication,
  event: Extract<ReplicationEvent, { kind: 'looked' | 'offer-answered' | 'audited' | 'covered' }>,
  nowMs: number,
): void {
  const context = state.contexts.get(event.contextId)
  // It was forgotten meanwhile: nobody has it any more.
  if (context === undefined) return
  switch (event.kind) {
    case 'looked':
      context.isLooking = false
      context.lookedMs = nowMs
      return
    case 'offer-answered':
      return onOfferAnswered(state, context, event, nowMs)
    case 'audited':
      return onAudited(state, context, event.peer, event.outcome, nowMs)
    case 'covered':
      context.isCovered = true
  }
}

function onPulled(
  state: Replication,
  { contextId, outcome, hasGrown }: Extract<ReplicationEvent, { kind: 'pulled' }>,
  nowMs: number,
): Iterable<string> {
  const context = state.contexts.get(contextId)
  // A replicator that was stopped and started knows nothing of its earlier pulls, which may end late.
  if (context?.pull === undefined) return []
  context.pull = undefined
  state.pulls -= 1
  context.own = { ...context.own, isFetching: false }
  if (outcome === 'stored') {
    context.own = { ...context.own, tier: 'stored', share: 1 }
    context.failures = 0
  }
  if (outcome === 'failed') {
    context.failures += 1
    const { retryMs, retryMsMax } = state.options
    context.notBeforeMs = nowMs + backoffMs(retryMs, retryMsMax, context.failures)
    // A peer that claims a context and sends none of it loses its credibility.
    if (!hasGrown) for (const peer of otherCopies(state, context, nowMs)) strike(state, context, peer, nowMs)
  }
  return shortContexts(state, contextId)
}

/** A pull has ended: contexts with the fewest copies are decided first. */
function shortContexts(state: Replication, first: string): string[] {
  const short = [...state.contexts.values()].filter(({ shortSinceMs }) => shortSinceMs !== undefined)
  short.sort(
    (one, other) => one.holders.size - other.holders.size || (one.contextId < other.contextId ? -1 : 1),
  )
  return [...new Set([first, ...short.map(({ contextId }) => contextId)])]
}

function onDrain(state: Replication, effects: ReplicationEffect[]): string[] {
  state.isDraining = true
  state.wakes.clear()
  for (const { contextId, pull } of state.contexts.values()) {
    if (pull !== undefined) effects.push({ kind: 'cancel', contextId, code: 'handing-over' })
  }
  return []
}
