// The state and constants of core/replication.ts. docs/decisions/0005-replication.md says where the constants come from.

import { ADVERTS_KEPT_MAX, REPLICATION_CONTEXTS_MAX, REPLICATION_HOLDERS_MAX } from '../../../base/limits.ts'

export interface ReplicationOptions {
  /** Whether this peer makes spare copies at all. It serves what it has in any case. */
  isTaking: boolean
  /** Copies that a context should have, and that one in demand may have. */
  copiesWanted: number
  copiesMax: number
  /** This many nearest holders never delete a context; a drain copies contexts with fewer copies elsewhere. */
  keepersMin: number
  /** Only this many peers nearest to a context's key make spare copies of it. */
  neighboursMax: number
  /** A copy whose peer went away is counted for this long, ms; when only one is left, for the shorter time. */
  graceMs: number
  urgentGraceMs: number
  /** Each neighbour waits this long for each that is nearer, and a random time up to the jitter, ms. */
  rankStepMs: number
  jitterMs: number
  urgentRankStepMs: number
  urgentJitterMs: number
  /** A peer that joined makes no spare copies for this long, ms: it may leave soon, and has not heard of all. */
  joinAfterMs: number
  urgentJoinAfterMs: number
  /** A context must be in demand for this long before it gets more copies, ms. */
  prefetchAfterMs: number
  /** Holders leave missing copies to the neighbours, and ask one after this long, ms. */
  offerAfterMs: number
  /** How long an offer counts as a copy in the making before the other's advert says so, ms. */
  offerLeaseMs: number
  /** A peer that declined is not asked again for this long, ms. */
  declinedMs: number
  /** A fetch that another peer claims counts as a copy in the making while it grows this often, ms. */
  claimLeaseMs: number
  /** Copies of one context being made at once, over all peers. */
  repairsMax: number
  /** Spare copies that this peer fetches at once; with those that a leaving peer asked it to take. */
  pullsMax: number
  offeredPullsMax: number
  /** An unneeded copy in the making is given up while it is smaller than this share. */
  yieldShareMax: number
  /** Waits after a fetch that failed, doubled each time, ms. */
  retryMs: number
  retryMsMax: number
  /** The DHT's answer is looked up again before acting on it when it is older than this, ms. */
  lookFreshMs: number
  /** Holders look for one another this often, and ask one for a random chunk, ms. */
  lookEveryMs: number
  auditEveryMs: number
  /** After a failed audit the next comes sooner, ms; after so many, the peer is not counted for a while, ms. */
  auditAgainMs: number
  auditStrikesMax: number
  doubtMs: number
  /** The part of the room for spare copies that contexts get which only newcomers have. */
  newcomersShare: number
  /** Copies of one context that a drain has made at once when nobody else holds it; and of all contexts. */
  drainCopies: number
  drainOffersMax: number
  /** Contexts and, of each, peers that are remembered; and peers whose first word is dated. */
  contextsMax: number
  datedPeersMax: number
  holdersMax: number
}

export const REPLICATION_DEFAULTS: Readonly<ReplicationOptions> = Object.freeze({
  isTaking: true,
  copiesWanted: 3,
  copiesMax: 5,
  keepersMin: 2,
  neighboursMax: 20,
  graceMs: 300_000,
  urgentGraceMs: 30_000,
  rankStepMs: 30_000,
  jitterMs: 10_000,
  urgentRankStepMs: 10_000,
  urgentJitterMs: 3_000,
  joinAfterMs: 600_000,
  urgentJoinAfterMs: 60_000,
  prefetchAfterMs: 60_000,
  offerAfterMs: 60_000,
  offerLeaseMs: 30_000,
  declinedMs: 600_000,
  claimLeaseMs: 120_000,
  repairsMax: 2,
  pullsMax: 1,
  offeredPullsMax: 2,
  yieldShareMax: 0.5,
  retryMs: 60_000,
  retryMsMax: 3_600_000,
  lookFreshMs: 30_000,
  lookEveryMs: 600_000,
  auditEveryMs: 600_000,
  auditAgainMs: 60_000,
  auditStrikesMax: 2,
  doubtMs: 3_600_000,
  newcomersShare: 0.1,
  drainCopies: 2,
  drainOffersMax: 8,
  contextsMax: REPLICATION_CONTEXTS_MAX,
  datedPeersMax: ADVERTS_KEPT_MAX,
  holdersMax: REPLICATION_HOLDERS_MAX,
})

/** Where a context is on a peer. `partial` holders serve what they have, and are no copy. */
export type ReplicaTier = 'partial' | 'stored' | 'warm'

/** The spare copies that a peer accepts now: any, only of contexts that might otherwise be lost, or none. */
export type TakesReplicas = 'any' | 'last' | 'none'

/** Why a copy is made. `offered`: a holder asked for it; `drain`: a draining holder did. */
export type PullReason = 'repair' | 'urgent' | 'prefetch' | 'offered' | 'drain'

/** The decision about a context, as a code: replication-words.ts has the words. */
export type ReplicationCode =
  | 'enough'
  | 'nobody-holds-it'
  | 'others-fetch-it'
  | 'fetched-here'
  | 'opted-out'
  | 'no-room'
  | 'joined-too-recently'
  | 'fetches-another'
  | 'failed-lately'
  | 'not-a-neighbour'
  | 'awaiting-turn'
  | 'looking'
  | 'neighbours-first'
  | 'no-neighbour-takes-it'
  | 'asked-a-neighbour'
  | 'handing-over'
  | 'handed-over'
  | 'held-elsewhere'

/** Another peer's report of one context. */
export interface Holding {
  tier: ReplicaTier
  share: number
  isFetching: boolean
  isBusy: boolean
  /** Until when its fetch counts, unless it grows. */
  leaseUntilMs: number
}

export interface PeerView {
  peer: string
  position: number
  takes: TakesReplicas
  isDraining: boolean
  contextIds: ReadonlySet<string>
}

export interface OwnHolding {
  tier: ReplicaTier | 'absent'
  share: number
  isFetching: boolean
  isBusy: boolean
}

export interface ContextView {
  readonly contextId: string
  readonly position: number
  /** Undefined until a holder says it. */
  bytes: number | undefined
  own: OwnHolding
  readonly holders: Map<string, Holding>
  /** Copies whose peers went away or are leaving: when they were last heard of. */
  readonly lost: Map<string, number>
  readonly doubts: Map<string, { strikes: number; untilMs: number }>
  /** Peers asked to take a copy, and until when that counts; and those that declined. */
  readonly offers: Map<string, number>
  readonly declined: Map<string, number>
  pull: PullReason | undefined
  /** When its copy here was begun, only newcomers had it. */
  isTakenFromNewcomers: boolean
  /** Since when copies are missing, and the share of the jitter that this peer waits. */
  shortSinceMs: number | undefined
  jitter: number
  failures: number
  notBeforeMs: number
  isLooking: boolean
  lookedMs: number
  nextLookMs: number
  nextAuditMs: number
  /** Every chunk of it is known to be on other peers, though no one of them has all. */
  isCovered: boolean
  code: ReplicationCode | undefined
}

/** The whole state of one peer's replication. Made by `newReplication`, changed only by `step`. */
export interface Replication {
  readonly self: string
  readonly options: ReplicationOptions
  readonly positionOf: (id: string) => number
  readonly startedMs: number
  readonly peers: Map<string, PeerView>
  readonly contexts: Map<string, ContextView>
  /** When each peer was first heard of, also of those that are away; the latest heard of are kept. */
  readonly firstHeardMs: Map<string, number>
  /** When to decide about a context again without an event. */
  readonly wakes: Map<string, number>
  pulls: number
  /** Bytes that spare copies may still take here. */
  roomBytes: number
  isDraining: boolean
  isDrained: boolean
  /** Steps since the last check (base/invariants.ts). */
  uncheckedSteps: number
}

export interface ReplicationStart {
  self: string
  /** The first 32 bits of the Kademlia id of a peer or a context: nearness is their XOR. */
  positionOf: (id: string) => number
  nowMs: number
  options?: Partial<ReplicationOptions>
}

export function newReplication({ self, positionOf, nowMs, options }: ReplicationStart): Replication {
  return {
    self,
    options: { ...REPLICATION_DEFAULTS, ...options },
    positionOf,
    startedMs: nowMs,
    peers: new Map(),
    contexts: new Map(),
    firstHeardMs: new Map(),
    wakes: new Map(),
    pulls: 0,
    roomBytes: Number.POSITIVE_INFINITY,
    isDraining: false,
    isDrained: false,
    uncheckedSteps: 0,
  }
}

/** The view of a context, made when there is room for one more; one of our own always finds room. */
export function viewOf(state: Replication, contextId: string, isOwn: boolean): ContextView | undefined {
  const known = state.contexts.get(contextId)
  if (known !== undefined) return known
  if (!isOwn && state.contexts.size >= state.options.contextsMax) return undefined
  const view: ContextView = {
    contextId,
    position: state.positionOf(contextId),
    bytes: undefined,
    own: { tier: 'absent', share: 0, isFetching: false, isBusy: false },
    holders: new Map(),
    lost: new Map(),
    doubts: new Map(),
    offers: new Map(),
    declined: new Map(),
    pull: undefined,
    isTakenFromNewcomers: false,
    shortSinceMs: undefined,
    jitter: 0,
    failures: 0,
    notBeforeMs: 0,
    isLooking: false,
    lookedMs: Number.NEGATIVE_INFINITY,
    nextLookMs: Number.POSITIVE_INFINITY,
    nextAuditMs: Number.POSITIVE_INFINITY,
    isCovered: false,
    code: undefined,
  }
  state.contexts.set(contextId, view)
  return view
}

/** Replication's constants with time scaled so that `graceMs` is the grace: for tests and small swarms. */
export function withGrace(graceMs: number): Partial<ReplicationOptions> {
  const scale = graceMs / REPLICATION_DEFAULTS.graceMs
  const scaled = [
    'graceMs',
    'urgentGraceMs',
    'rankStepMs',
    'jitterMs',
    'urgentRankStepMs',
    'urgentJitterMs',
    'joinAfterMs',
    'urgentJoinAfterMs',
    'prefetchAfterMs',
    'offerAfterMs',
    'retryMs',
    'lookEveryMs',
    'auditEveryMs',
    'auditAgainMs',
  ] as const
  return Object.fromEntries(scaled.map((name) => [name, REPLICATION_DEFAULTS[name] * scale]))
}
