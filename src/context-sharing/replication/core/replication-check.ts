import { invariant } from '../../../base/invariants.ts'
import type { ContextView, Replication } from './replication-state.ts'

/** Throws `internal` when an invariant of the replication does not hold between two steps. */
export function checkReplication(state: Replication): void {
  checkPeers(state)
  for (const [contextId, context] of state.contexts) {
    const { self, options } = state
    invariant(context.contextId === contextId, 'a view is filed under its context', { self, contextId })
    checkHolders(state, context)
    checkOffers(state, context)
    for (const [peer, { strikes, untilMs }] of context.doubts) {
      const values = { self, contextId, peer, strikes, untilMs }
      invariant(strikes > 0, 'a doubt has a strike', values)
      const isCounted = strikes >= options.auditStrikesMax
      invariant(untilMs > 0 === isCounted, 'a holder is left out once it has enough strikes', values)
    }
    invariant(context.doubts.size <= options.holdersMax, 'doubts are bounded', { self, contextId })
  }
  checkPulls(state)
  for (const [contextId, ms] of state.wakes) {
    const isKnown = state.contexts.has(contextId)
    invariant(isKnown && !Number.isNaN(ms), 'a wake is of a known context', { contextId, ms })
  }
  invariant(!state.isDrained || state.isDraining, 'only a peer that leaves is drained', { self: state.self })
}

function checkPeers({ self, peers, positionOf, firstHeardMs, options }: Replication): void {
  invariant(firstHeardMs.size <= options.datedPeersMax, 'dated peers are bounded', { self })
  invariant(!peers.has(self), 'a peer is none of its others', { self })
  for (const [peer, view] of peers) {
    invariant(view.peer === peer, 'a view is filed under its peer', { self, peer, filed: view.peer })
    invariant(firstHeardMs.has(peer) || firstHeardMs.size === options.datedPeersMax, 'a peer is dated', {
      self,
      peer,
    })
    invariant(view.position === positionOf(peer), 'a peer stands where its id says', { self, peer })
  }
}

/** Holders are an index of what the known peers said, and those that are lost are not counted among them. */
function checkHolders({ self, peers, options }: Replication, context: ContextView): void {
  const { contextId, holders, lost, own } = context
  const counts = { self, contextId, holders: holders.size, lost: lost.size }
  invariant(holders.size <= options.holdersMax, 'holders are bounded', counts)
  invariant(lost.size <= options.holdersMax, 'lost copies are bounded', counts)
  invariant(own.share >= 0 && own.share <= 1, 'a share is a part of the whole', {
    ...counts,
    share: own.share,
  })
  for (const [peer, { tier, share }] of holders) {
    const values = { self, contextId, peer, tier, share }
    const said = peers.get(peer)?.contextIds
    invariant(said?.has(contextId) === true, 'a holder is a known peer that said so', values)
    invariant(share >= 0 && share <= 1, 'a share is a part of the whole', values)
    invariant(tier === 'partial' || share === 1, 'a full copy has all of the context', values)
  }
  for (const peer of lost.keys()) {
    const isHere = holders.has(peer) && peers.get(peer)?.isDraining !== true
    invariant(!isHere, 'a copy is not both here and lost', { self, contextId, peer })
  }
}

/** An offer stands for a copy to come: once its peer fetches or has it, the peer's own word counts. */
function checkOffers({ self }: Replication, { contextId, holders, offers }: ContextView): void {
  for (const peer of offers.keys()) {
    const holding = holders.get(peer)
    const isToCome = holding === undefined || (holding.tier === 'partial' && !holding.isFetching)
    invariant(isToCome, 'an offered copy is not counted twice', {
      self,
      contextId,
      peer,
      tier: holding?.tier,
    })
  }
}

function checkPulls({ self, contexts, pulls, options }: Replication): void {
  let counted = 0
  for (const { pull } of contexts.values()) if (pull !== undefined) counted += 1
  const mostPulls = Math.max(options.pullsMax, options.offeredPullsMax)
  const values = { self, pulls, counted, mostPulls }
  invariant(pulls === counted, 'pulls are counted', values)
  invariant(pulls <= mostPulls, 'pulls are bounded', values)
}
