import { concernsUs } from './replication-count.ts'
import type { ReplicationEffect, ReplicationEvent, SaidContext } from './replication-events.ts'
import { type ContextView, type Holding, type Replication, viewOf } from './replication-state.ts'

/** Takes in a peer's advert; returns the contexts that it changes. */
export function onPeer(
  state: Replication,
  event: Extract<ReplicationEvent, { kind: 'peer' }>,
  nowMs: number,
): Set<string> {
  const { peer, takes, isDraining, contexts } = event
  const before = state.peers.get(peer)
  noteHeard(state, peer, nowMs)
  const said = new Set(contexts.map(({ contextId }) => contextId))
  state.peers.set(peer, {
    peer,
    position: before?.position ?? state.positionOf(peer),
    takes,
    isDraining,
    contextIds: said,
  })
  const touched = new Set<string>()
  for (const contextId of before?.contextIds ?? []) {
    if (said.has(contextId)) continue
    state.contexts.get(contextId)?.holders.delete(peer)
    touched.add(contextId)
  }
  const hasChanged = before?.isDraining !== isDraining
  for (const context of contexts) {
    if (hold(state, event, context, hasChanged, nowMs)) touched.add(context.contextId)
  }
  return touched
}

function noteHeard({ firstHeardMs, options }: Replication, peer: string, nowMs: number): void {
  const sinceMs = firstHeardMs.get(peer) ?? nowMs
  firstHeardMs.delete(peer)
  firstHeardMs.set(peer, sinceMs)
  const [longestSilent] = firstHeardMs.keys()
  if (firstHeardMs.size > options.datedPeersMax && longestSilent !== undefined)
    firstHeardMs.delete(longestSilent)
}

/** Whether the advert has relevant news. */
function hold(
  state: Replication,
  { peer, isDraining }: { peer: string; isDraining: boolean },
  said: SaidContext,
  hasChanged: boolean,
  nowMs: number,
): boolean {
  const context = viewOf(state, said.contextId, false)
  if (context === undefined) return false
  const before = context.holders.get(peer)
  if (before === undefined && context.holders.size >= state.options.holdersMax) return false
  const share = said.tier === 'partial' ? (said.share ?? 0) : 1
  const isFetching = said.isFetching === true
  const isBusy = said.isBusy === true
  const isSame =
    before?.tier === said.tier &&
    before.share === share &&
    before.isFetching === isFetching &&
    before.isBusy === isBusy
  if (isSame && !hasChanged) return false
  const hasGrown = before === undefined || share > before.share || !before.isFetching
  const leaseUntilMs = isFetching && !hasGrown ? before.leaseUntilMs : nowMs + state.options.claimLeaseMs
  const holding: Holding = { tier: said.tier, share, isFetching, isBusy, leaseUntilMs }
  context.holders.set(peer, holding)
  context.bytes ??= said.bytes
  if (isFetching || said.tier !== 'partial') context.offers.delete(peer)
  if (!isDraining) context.lost.delete(peer)
  else if (said.tier !== 'partial') noteLost(state, context, peer, nowMs)
  return true
}

/** A peer whose copies matter to us is asked before it counts as lost. */
export function onPeerSilent(
  state: Replication,
  peer: string,
  heardMs: number,
  effects: ReplicationEffect[],
): Iterable<string> {
  if (!concernsUs(state, peer)) return onPeerLost(state, peer, heardMs)
  effects.push({ kind: 'ask', peer, heardMs })
  return []
}

/** Its copies count for a grace from when it was last heard of. */
export function onPeerLost(state: Replication, peer: string, heardMs: number): Iterable<string> {
  const view = state.peers.get(peer)
  if (view === undefined) return []
  state.peers.delete(peer)
  for (const contextId of view.contextIds) {
    const context = state.contexts.get(contextId)
    const holding = context?.holders.get(peer)
    context?.holders.delete(peer)
    context?.offers.delete(peer)
    if (context === undefined || holding === undefined || holding.tier === 'partial') continue
    noteLost(state, context, peer, heardMs)
  }
  return view.contextIds
}

function noteLost({ options }: Replication, { lost }: ContextView, peer: string, sinceMs: number): void {
  if (!lost.has(peer) && lost.size < options.holdersMax) lost.set(peer, sinceMs)
}

export function onOwn(
  state: Replication,
  { contextId, bytes, holding }: Extract<ReplicationEvent, { kind: 'own' }>,
): string[] {
  const context = viewOf(state, contextId, true)
  if (context === undefined) return []
  context.own = holding
  context.bytes = bytes ?? context.bytes
  return [contextId]
}
