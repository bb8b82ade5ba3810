import type { ContextView, Holding, PeerView, Replication, TakesReplicas } from './replication-state.ts'

/** The existing and wanted copies of a context. */
export interface Copies {
  /** On peers that are here, ours included. */
  live: number
  /** On peers that went away a short while ago. */
  graced: number
  /** Being fetched, here included, or promised by a peer that was asked to. */
  making: number
  wanted: number
  /** Missing copies; never negative. */
  missing: number
  isUrgent: boolean
  /** When time alone changes these numbers, ms. */
  changesMs: number
}

export function countCopies(state: Replication, context: ContextView, nowMs: number): Copies {
  const { options } = state
  let live = ownsCopy(state, context) ? 1 : 0
  // A fetch during this peer's drain is not a copy.
  let making = !state.isDraining && (context.pull !== undefined || context.own.isFetching) ? 1 : 0
  let busy = live === 1 && context.own.isBusy ? 1 : 0
  let changesMs = Number.POSITIVE_INFINITY
  for (const [peer, holding] of context.holders) {
    if (isCopy(state, context, peer, holding, nowMs)) {
      live += 1
      if (holding.isBusy) busy += 1
    } else if (isMaking(state, peer, holding, nowMs)) {
      making += 1
      changesMs = Math.min(changesMs, holding.leaseUntilMs)
    }
  }
  for (const { untilMs } of context.doubts.values())
    if (untilMs > nowMs) changesMs = Math.min(changesMs, untilMs)
  for (const [peer, untilMs] of context.offers) {
    if (untilMs <= nowMs || context.holders.get(peer)?.isFetching === true) continue
    making += 1
    changesMs = Math.min(changesMs, untilMs)
  }
  const isUrgent = live <= 1
  const graceMs = isUrgent ? options.urgentGraceMs : options.graceMs
  let graced = 0
  for (const sinceMs of context.lost.values()) {
    if (sinceMs + graceMs <= nowMs) continue
    graced += 1
    changesMs = Math.min(changesMs, sinceMs + graceMs)
  }
  const wanted = Math.max(options.copiesWanted, busy === 0 ? 0 : Math.min(options.copiesMax, busy + 1))
  const missing = Math.max(0, wanted - live - graced - making)
  return { live, graced, making, wanted, missing, isUrgent, changesMs }
}

/** Whether we have a copy that will stay. */
export function ownsCopy(state: Replication, { own }: ContextView): boolean {
  return !state.isDraining && (own.tier === 'stored' || own.tier === 'warm')
}

/** Whether another peer has a copy that will stay, as far as is known. */
function isCopy(
  state: Replication,
  context: ContextView,
  peer: string,
  { tier }: Holding,
  nowMs: number,
): boolean {
  if (tier === 'partial' || state.peers.get(peer)?.isDraining !== false) return false
  return !isDoubted(context, peer, nowMs)
}

function isMaking(state: Replication, peer: string, holding: Holding, nowMs: number): boolean {
  return holding.isFetching && holding.leaseUntilMs > nowMs && state.peers.get(peer)?.isDraining === false
}

export function isDoubted(context: ContextView, peer: string, nowMs: number): boolean {
  return (context.doubts.get(peer)?.untilMs ?? 0) > nowMs
}

/** Whether a peer has something that we have too, or that wants copies. */
export function concernsUs(state: Replication, peer: string): boolean {
  for (const contextId of state.peers.get(peer)?.contextIds ?? []) {
    const context = state.contexts.get(contextId)
    if (context !== undefined && (context.own.tier !== 'absent' || context.shortSinceMs !== undefined))
      return true
  }
  return false
}

/** The peers with a copy that will stay, without ourselves, by id. */
export function otherCopies(state: Replication, context: ContextView, nowMs: number): string[] {
  return [...context.holders]
    .filter(([peer, holding]) => isCopy(state, context, peer, holding, nowMs))
    .map(([peer]) => peer)
    .sort()
}

/** Peers that are fetching the context now, without ourselves. */
export function otherFetchers(state: Replication, context: ContextView, nowMs: number): string[] {
  return [...context.holders]
    .filter(([peer, holding]) => isMaking(state, peer, holding, nowMs))
    .map(([peer]) => peer)
}

/** Negative when `one` is nearer to the context's key than `other`. */
export function compareNearness(
  context: ContextView,
  one: { peer: string; position: number },
  other: { peer: string; position: number },
): number {
  const distance = ((one.position ^ context.position) >>> 0) - ((other.position ^ context.position) >>> 0)
  return distance !== 0 ? distance : one.peer < other.peer ? -1 : 1
}

export function ourselves(state: Replication): { peer: string; position: number } {
  return { peer: state.self, position: state.positionOf(state.self) }
}

/** How many neighbours that could take a copy are nearer than we are; undefined when too many are. */
export function rankAsNeighbour(
  state: Replication,
  context: ContextView,
  isLast: boolean,
): number | undefined {
  const self = ourselves(state)
  let rank = 0
  for (const view of state.peers.values()) {
    if (mayTake(context, view, isLast) && compareNearness(context, view, self) < 0) rank += 1
  }
  return rank < state.options.neighboursMax ? rank : undefined
}

/** How many other holders are nearer than we are. */
export function rankAsHolder(state: Replication, context: ContextView, nowMs: number): number {
  const self = ourselves(state)
  return otherCopies(state, context, nowMs).filter((peer) => {
    const view = state.peers.get(peer)
    return view !== undefined && compareNearness(context, view, self) < 0
  }).length
}

/** The nearest peers that could take a copy and were not asked lately. */
export function neighboursToAsk(
  state: Replication,
  context: ContextView,
  isLast: boolean,
  nowMs: number,
): PeerView[] {
  return [...state.peers.values()]
    .filter((view) => mayTake(context, view, isLast))
    .filter(
      ({ peer }) =>
        !((context.declined.get(peer) ?? 0) > nowMs) && !((context.offers.get(peer) ?? 0) > nowMs),
    )
    .sort((one, other) => compareNearness(context, one, other))
    .slice(0, state.options.neighboursMax)
}

function mayTake(context: ContextView, view: PeerView, isLast: boolean): boolean {
  if (view.isDraining || !doesTake(view.takes, isLast)) return false
  const holding = context.holders.get(view.peer)
  return holding === undefined || (holding.tier === 'partial' && !holding.isFetching)
}

function doesTake(takes: TakesReplicas, isLast: boolean): boolean {
  return takes === 'any' || (takes === 'last' && isLast)
}

/** This peer's own view, as its advert would give it. */
export function takesNow(state: Replication, nowMs: number): TakesReplicas {
  const { options } = state
  if (!options.isTaking || state.isDraining || state.roomBytes <= 0) return 'none'
  const isSettled = nowMs - state.startedMs >= options.joinAfterMs
  return isSettled && state.pulls < options.pullsMax ? 'any' : 'last'
}

export interface DropAnswer {
  may: boolean
  /** Copies on other peers. */
  others: number
  code: 'held-elsewhere' | 'last-copy' | 'keeper' | 'no-copy'
}

/**
 * Whether our copy may be dropped to make room. The nearest `keepersMin` holders keep theirs, those that
 * run the context before all others: so that holders who drop at the same moment, each without asking
 * anybody, never drop the last.
 */
export function mayDrop(state: Replication, contextId: string, nowMs: number): DropAnswer {
  const context = state.contexts.get(contextId)
  if (context === undefined || context.own.tier === 'absent') return { may: true, others: 0, code: 'no-copy' }
  const others = otherCopies(state, context, nowMs)
  if (context.own.tier === 'partial') return { may: true, others: others.length, code: 'no-copy' }
  if (others.length === 0) return { may: false, others: 0, code: 'last-copy' }
  const self = ourselves(state)
  const isAhead = (peer: string): boolean => {
    const view = state.peers.get(peer)
    const isWarm = context.holders.get(peer)?.tier === 'warm'
    if (view === undefined || isWarm !== (context.own.tier === 'warm')) return isWarm
    return compareNearness(context, view, self) < 0
  }
  const ahead = others.filter(isAhead).length
  const may = ahead >= state.options.keepersMin
  return { may, others: others.length, code: may ? 'held-elsewhere' : 'keeper' }
}
