import type { ReplicationEffect } from './replication-events.ts'
import { type Copies, countCopies, neighboursToAsk, otherFetchers } from './replication-count.ts'
import { decide, offer, wakeAt } from './replication-plan.ts'
import type { ContextView, Replication } from './replication-state.ts'

/** A context of a draining peer, and the number of copies that remain without it. */
interface Leaving {
  context: ContextView
  copies: Copies
  /** Full copies elsewhere; one more when every chunk is elsewhere, if on several peers. */
  others: number
}

/**
 * A draining peer first copies contexts that only it has, to two peers at once: they take different chunks
 * of it, rarest first, so that its uplink sends each only once. Contexts with one other copy follow.
 */
export function planDrain(state: Replication, nowMs: number, effects: ReplicationEffect[]): void {
  state.wakes.clear()
  const open = leavingContexts(state, nowMs, effects).filter((one) => !isHopeless(state, one, nowMs, effects))
  if (open.length === 0) {
    if (!state.isDrained) effects.push({ kind: 'drained' })
    state.isDrained = true
    return
  }
  state.isDrained = false
  for (const { context, copies } of open) wakeAt(state, context, copies.changesMs)
  const fewest = Math.min(...open.map(({ others }) => others))
  let room = state.options.drainOffersMax - open.reduce((sum, { copies }) => sum + copies.making, 0)
  for (const leaving of open.filter(({ others }) => others === fewest)) {
    decide({ ...leaving, effects }, 'handing-over')
    const wanted = fewest === 0 ? state.options.drainCopies : 1
    const missing = Math.min(room, wanted - leaving.copies.making)
    for (const { peer } of neighboursToAsk(state, leaving.context, fewest === 0, nowMs).slice(
      0,
      Math.max(0, missing),
    )) {
      offer(state, leaving.context, peer, 'drain', nowMs, effects)
      room -= 1
    }
  }
}

/** Contexts that have too few copies without ours, fewest first, then the smallest: most are saved so. */
function leavingContexts(state: Replication, nowMs: number, effects: ReplicationEffect[]): Leaving[] {
  const leaving: Leaving[] = []
  for (const context of state.contexts.values()) {
    if (context.own.tier === 'absent') continue
    const copies = countCopies(state, context, nowMs)
    const others = copies.live + (context.isCovered && copies.live === 0 ? 1 : 0)
    // A partial context is no loss when others have all of it.
    const enough = context.own.tier === 'partial' ? 1 : state.options.keepersMin
    if (others < enough) leaving.push({ context, copies, others })
    else decide({ context, copies, effects }, context.offers.size > 0 ? 'handed-over' : 'held-elsewhere')
  }
  return leaving.sort(
    (one, other) =>
      one.others - other.others ||
      (one.context.bytes ?? 0) - (other.context.bytes ?? 0) ||
      (one.context.contextId < other.context.contextId ? -1 : 1),
  )
}

/** No peer has started to take it, and no peer is left to ask. */
function isHopeless(
  state: Replication,
  { context, copies, others }: Leaving,
  nowMs: number,
  effects: ReplicationEffect[],
): boolean {
  const isHopeless =
    copies.making === 0 &&
    otherFetchers(state, context, nowMs).length === 0 &&
    neighboursToAsk(state, context, others === 0, nowMs).length === 0
  if (isHopeless)
    decide({ context, copies, effects }, others === 0 ? 'no-neighbour-takes-it' : 'held-elsewhere')
  return isHopeless
}

/** The contexts that a drain has left: a part of each may be lost if this peer stops now. */
export function onlyHere(state: Replication, nowMs: number): string[] {
  return [...state.contexts.values()]
    .filter(({ own, isCovered }) => own.tier !== 'absent' && !isCovered)
    .filter((context) => countCopies({ ...state, isDraining: true }, context, nowMs).live === 0)
    .map(({ contextId }) => contextId)
    .sort()
}
