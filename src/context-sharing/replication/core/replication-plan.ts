import type { Random } from '../../../base/random.ts'
import type { ReplicationEffect } from './replication-events.ts'
import {
  type Copies,
  compareNearness,
  countCopies,
  isDoubted,
  neighboursToAsk,
  otherCopies,
  otherFetchers,
  ourselves,
  ownsCopy,
  rankAsHolder,
  rankAsNeighbour,
} from './replication-count.ts'
import { hasRoomFor, isOfNewcomers } from './replication-room.ts'
import type { ContextView, PullReason, Replication, ReplicationCode } from './replication-state.ts'

/** The inputs of one decision about one context. */
interface Thought {
  state: Replication
  context: ContextView
  copies: Copies
  nowMs: number
  effects: ReplicationEffect[]
}

/**
 * Decides about one context: whether a copy is missing, whether it is this peer's turn to make it, and
 * when to decide again. Neighbours fetch; holders ask a neighbour when none has started.
 */
export function reconsider(
  state: Replication,
  context: ContextView,
  nowMs: number,
  random: Random,
  effects: ReplicationEffect[],
): void {
  state.wakes.delete(context.contextId)
  prune(state, context, nowMs)
  if (isForgettable(context)) return void state.contexts.delete(context.contextId)
  const copies = countCopies(state, context, nowMs)
  wakeAt(state, context, copies.changesMs)
  const thought: Thought = { state, context, copies, nowMs, effects }
  if (context.pull !== undefined) return yieldIfNeedless(thought)
  if (copies.missing === 0) {
    context.shortSinceMs = undefined
    return decide(
      thought,
      copies.making === 0 ? 'enough' : context.own.isFetching ? 'fetched-here' : 'others-fetch-it',
    )
  }
  if (context.shortSinceMs === undefined) {
    context.shortSinceMs = nowMs
    context.jitter = random.next()
  }
  if (ownsCopy(state, context)) actAsHolder(thought)
  else actAsNeighbour(thought)
}

/** Schedules the next decision at `atMs` or earlier. */
export function wakeAt(state: Replication, context: ContextView, atMs: number): void {
  const known = state.wakes.get(context.contextId) ?? Number.POSITIVE_INFINITY
  if (atMs < known) state.wakes.set(context.contextId, atMs)
}

export function decide(
  { context, copies, effects }: Pick<Thought, 'context' | 'copies' | 'effects'>,
  code: ReplicationCode,
): void {
  if (context.code === code) return
  context.code = code
  const { live, graced, making, wanted } = copies
  effects.push({ kind: 'decision', contextId: context.contextId, code, live, graced, making, wanted })
}

function prune(state: Replication, context: ContextView, nowMs: number): void {
  const { graceMs } = state.options
  for (const [peer, sinceMs] of context.lost) if (sinceMs + graceMs <= nowMs) context.lost.delete(peer)
  for (const untilMs of [context.offers, context.declined]) {
    for (const [peer, ms] of untilMs) if (ms <= nowMs) untilMs.delete(peer)
  }
  for (const [peer, { strikes, untilMs }] of context.doubts) {
    if (strikes >= state.options.auditStrikesMax && untilMs <= nowMs) context.doubts.delete(peer)
  }
}

function isForgettable({ own, holders, lost, pull }: ContextView): boolean {
  return (
    own.tier === 'absent' && !own.isFetching && pull === undefined && holders.size === 0 && lost.size === 0
  )
}

function actAsNeighbour(thought: Thought): void {
  const { state, context, copies, nowMs, effects } = thought
  const refusal = whyNot(thought)
  if (refusal !== undefined) return decide(thought, refusal)
  const rank = rankAsNeighbour(state, context, copies.isUrgent)
  // Who is nearer may go, or take copies no more: ranks are looked at again every step.
  const soonMs = nowMs + state.options.rankStepMs
  if (rank === undefined) {
    wakeAt(state, context, soonMs)
    return decide(thought, 'not-a-neighbour')
  }
  const turnMs = turnOf(thought, rank)
  if (nowMs < turnMs) {
    wakeAt(state, context, Math.min(turnMs, soonMs))
    return decide(thought, 'awaiting-turn')
  }
  if (!hasLooked(thought)) return
  const why: PullReason = copies.isUrgent ? 'urgent' : isPrefetch(thought) ? 'prefetch' : 'repair'
  beginPull(state, context, why, nowMs, effects)
}

/** Why this peer makes no copy; undefined when it may. */
function whyNot({ state, context, copies, nowMs }: Thought): ReplicationCode | undefined {
  const { options } = state
  if (!options.isTaking) return 'opted-out'
  if (context.own.isFetching) return 'fetched-here'
  if (!hasSource(context, nowMs)) return 'nobody-holds-it'
  if (copies.making >= options.repairsMax) return 'others-fetch-it'
  if (!hasRoomFor(state, context, context.bytes ?? 0, nowMs)) {
    // Newcomers do not stay newcomers.
    if (state.roomBytes > 0 && isOfNewcomers(state, context, nowMs))
      wakeAt(state, context, nowMs + options.rankStepMs)
    return 'no-room'
  }
  const joinedMs = state.startedMs + (copies.isUrgent ? options.urgentJoinAfterMs : options.joinAfterMs)
  if (nowMs < joinedMs) {
    wakeAt(state, context, joinedMs)
    return 'joined-too-recently'
  }
  if (nowMs < context.notBeforeMs) {
    wakeAt(state, context, context.notBeforeMs)
    return 'failed-lately'
  }
  return state.pulls >= options.pullsMax ? 'fetches-another' : undefined
}

function hasSource(context: ContextView, nowMs: number): boolean {
  for (const peer of context.holders.keys()) if (!isDoubted(context, peer, nowMs)) return true
  return false
}

/** A spare copy is fetched from now on. The shell says `pulled` when it is over. */
export function beginPull(
  state: Replication,
  context: ContextView,
  why: PullReason,
  nowMs: number,
  effects: ReplicationEffect[],
): void {
  context.pull = why
  context.isTakenFromNewcomers = isOfNewcomers(state, context, nowMs)
  context.code = undefined
  state.pulls += 1
  effects.push({ kind: 'pull', contextId: context.contextId, why })
}

function actAsHolder(thought: Thought): void {
  const { state, context, copies, nowMs, effects } = thought
  if (copies.making >= state.options.repairsMax) return decide(thought, 'others-fetch-it')
  const turnMs = turnOf(thought, rankAsHolder(state, context, nowMs)) + state.options.offerAfterMs
  if (nowMs < turnMs) {
    wakeAt(state, context, turnMs)
    return decide(thought, 'neighbours-first')
  }
  if (!hasLooked(thought)) return
  const [neighbour] = neighboursToAsk(state, context, copies.isUrgent, nowMs)
  if (neighbour === undefined) {
    wakeAt(state, context, nowMs + state.options.retryMs)
    return decide(thought, 'no-neighbour-takes-it')
  }
  offer(state, context, neighbour.peer, 'offered', nowMs, effects)
  decide(thought, 'asked-a-neighbour')
}

export function offer(
  state: Replication,
  context: ContextView,
  peer: string,
  why: 'offered' | 'drain',
  nowMs: number,
  effects: ReplicationEffect[],
): void {
  const untilMs = nowMs + state.options.offerLeaseMs
  context.offers.set(peer, untilMs)
  wakeAt(state, context, untilMs)
  const copies = otherCopies(state, context, nowMs).length
  effects.push({ kind: 'offer', contextId: context.contextId, peer, why, copies })
}

/** When a peer of this rank acts: nearer peers act sooner, so that one starts and the others see it. */
function turnOf(thought: Thought, rank: number): number {
  const { state, context, copies, nowMs } = thought
  const { options } = state
  const waitMs = copies.isUrgent
    ? rank * options.urgentRankStepMs + context.jitter * options.urgentJitterMs
    : rank * options.rankStepMs + context.jitter * options.jitterMs
  return (context.shortSinceMs ?? nowMs) + waitMs + (isPrefetch(thought) ? options.prefetchAfterMs : 0)
}

function isPrefetch({ state, copies }: Thought): boolean {
  return copies.live + copies.graced + copies.making >= state.options.copiesWanted
}

/** Whether the DHT's answer about the holders is recent; otherwise asks again. No peer acts on an old view. */
function hasLooked(thought: Thought): boolean {
  const { state, context, nowMs, effects } = thought
  if (nowMs - context.lookedMs <= state.options.lookFreshMs) return true
  decide(thought, 'looking')
  if (!context.isLooking) look(context, effects)
  return false
}

export function look(context: ContextView, effects: ReplicationEffect[]): void {
  context.isLooking = true
  effects.push({ kind: 'look', contextId: context.contextId })
}

/**
 * A copy in the making that nobody needs any more is given up, unless most of it is here: enough holders
 * came back, or several began at the same moment, of which the nearest go on.
 */
function yieldIfNeedless({ state, context, copies, nowMs, effects }: Thought): void {
  // The peer that asked for this copy may know why.
  if (context.pull === 'offered' || context.pull === 'drain') return
  if (context.own.share >= state.options.yieldShareMax) return
  const surplus = copies.live + copies.making - copies.wanted
  if (surplus <= 0) return
  const self = ourselves(state)
  const farther = otherFetchers(state, context, nowMs).filter((peer) => {
    const view = state.peers.get(peer)
    return view !== undefined && compareNearness(context, view, self) > 0
  })
  if (copies.live < copies.wanted && farther.length >= surplus) return
  const code = copies.live >= copies.wanted ? 'enough' : 'others-fetch-it'
  if (context.code === code) return
  context.code = code
  effects.push({ kind: 'cancel', contextId: context.contextId, code })
}
