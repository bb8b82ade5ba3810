import { CandidateBook, type Refusal } from './candidate-book.ts'
import type { Candidate } from './candidate.ts'
import { PEER_SILENCE_MS } from '../../wire/timings.ts'
import type { RequestRange } from '../../job/request-range.ts'
import { PendingRequests } from './pending-requests.ts'
import type { LeaseKey, Outcome, Phase } from '../../wire/task-messages.ts'

/** The options that decide how a job is spread. Times in ms. */
export interface CoordinatorOptions {
  /** Peers that one job uses at once: each of the largest swarm that Hearth is made for, below `CONNECTIONS_MAX`. */
  peersMax: number
  /** A peer that is silent for this long is dropped. */
  silenceMs: number
  /** A request becomes an error line after failures on this many peers, or this many failures in all. */
  failedPeersMax: number
  attemptsMax: number
  /** A peer that fails on this many requests in a row is avoided for a while: the fault is probably its own. */
  failuresInRowMax: number
  /** This submitter's own peer, if it has one: its errors need no second peer. */
  ownPeer?: string | undefined
  /** An error that no other peer can confirm becomes final this long after the last other peer was there. */
  aloneMs: number
  /** An error becomes final when no second peer has answered the request for this long. */
  judgeMs: number
  /** A peer with this many unconfirmed errors gets no new requests: it may lie, or its disk may be damaged. */
  doubtedMax: number
  /** Times that a request may be lost with its peer before it becomes an error line. */
  lossesMax: number
  /** How many peers may work on one request at the tail of a job. */
  copiesMax: number
  /** At the tail, a request is copied to a peer whose expected answer is this much earlier. */
  copyGainMs: number
  /** A peer that has answered nothing yet has this long before what it has is copied. */
  copyAfterMs: number
  /** First wait before a request or a peer is tried again; doubles up to `retryMsMax`. */
  retryMs: number
  retryMsMax: number
  /** Defaults for a context's load time, download rate and size, for peers that do not report them. */
  loadMs: number
  fetchBytesPerSecond: number
  bytes: number
  /** How often the job searches for peers. */
  findEveryMs: number
  /** Largest number of requests leased to one peer, whatever its credit. */
  outstandingMax: number
  /** For evaluation: the fixed size of a lease; the next lease follows when it is done. */
  leaseSize?: number | undefined
  /** The job gives up when no result came and no peer got on with loading for this long. */
  giveUpMs: number
}

export const COORDINATOR_DEFAULTS: CoordinatorOptions = {
  peersMax: 50,
  silenceMs: PEER_SILENCE_MS,
  failedPeersMax: 3,
  attemptsMax: 6,
  failuresInRowMax: 4,
  aloneMs: 2_000,
  judgeMs: 60_000,
  doubtedMax: 256,
  lossesMax: 20,
  copiesMax: 2,
  copyGainMs: 200,
  copyAfterMs: 1_000,
  retryMs: 250,
  retryMsMax: 30_000,
  loadMs: 1_500,
  fetchBytesPerSecond: 12_500_000,
  bytes: 10_000_000,
  findEveryMs: 2_000,
  outstandingMax: 4_096,
  giveUpMs: 60_000,
}

export type CoordinatorEvent =
  | { kind: 'start' }
  | { kind: 'candidates'; candidates: Candidate[] }
  | { kind: 'opened'; peer: string }
  | { kind: 'lost'; peer: string; reason: string }
  | { kind: 'heard'; peer: string }
  | { kind: 'status'; peer: string; phase: Phase; reason?: string | undefined; detail?: string | undefined }
  | { kind: 'credit'; peer: string; requests: number }
  /** `code`: of an error. */
  | { kind: 'result'; peer: string; key: LeaseKey; outcome: Outcome; code?: string | undefined }
  | { kind: 'committed'; peer: string | undefined; key: LeaseKey }
  /** The draining peer returns unstarted requests. */
  | { kind: 'returned'; peer: string; keys: LeaseKey[] }
  | { kind: 'tick' }

export type CoordinatorEffect =
  | { kind: 'find' }
  | { kind: 'open'; peer: string }
  | { kind: 'close'; peer: string; reason: string }
  /** The requests that are sent next are one lease: only with a lease size. */
  | { kind: 'lease'; peer: string; requests: number }
  | { kind: 'send'; peer: string; leases: LeaseKey[] }
  /** Make the result that `peer` sent under `key` durable, then report `committed`. */
  | { kind: 'commit'; peer: string; key: LeaseKey }
  /** Keep the error that `peer` sent under `key` until the request is settled: no second peer has confirmed it. */
  | { kind: 'doubt'; peer: string; key: LeaseKey; code: string }
  /** Make the error kept from `peer` durable under `key`, marked as unconfirmed, then report `committed`. */
  | { kind: 'accept'; peer: string; key: LeaseKey }
  /** Make the submitter's own error line durable, then report `committed`. */
  | { kind: 'fail'; key: LeaseKey; code: string; message: string }
  | { kind: 'acknowledge'; peer: string; keys: LeaseKey[] }
  | { kind: 'cancel'; peer: string; keys: LeaseKey[] }
  | { kind: 'give-up'; reason: Refusal }
  | { kind: 'finish' }

/** The peers that work on a request now. */
export interface Lease {
  request: number
  epoch: number
  /** One; at the tail a few. */
  peers: string[]
  /** Peers that were sent it under this epoch and have stopped; their late answers still count. */
  left: string[] | undefined
  /** Peers that gave an error for it already: they do not get it again. */
  barred: readonly string[] | undefined
  /** A result is on its way into the journal: nothing else may happen to this request. */
  isCommitting: boolean
}

/** A lease without a working peer, of an unsettled request: only its holders may still answer it. */
export interface EndedLease {
  epoch: number
  /** Every peer that was sent the request under this epoch. */
  holders: readonly string[]
}

/** A request of which only errors came that no second peer confirmed. */
export interface Doubt {
  /** The peers that gave an error, each once, and its code. */
  peers: string[]
  codes: string[]
  /** When the last one came. */
  sinceMs: number
}

/** The whole state of one job's coordination. Made by `createCoordinator`, changed only by `step`. */
export interface CoordinatorState {
  readonly options: CoordinatorOptions
  readonly pending: PendingRequests
  readonly leases: Map<number, Lease>
  /** The newest lease of requests that were leased, are not now, and are not settled. */
  readonly ended: Map<number, EndedLease>
  /** The peers that failed on a request, once per time. */
  readonly failures: Map<number, string[]>
  readonly losses: Map<number, number>
  readonly doubts: Map<number, Doubt>
  readonly book: CandidateBook
  /** Peers with unused credit, in the order they ran out of requests. */
  readonly hungry: Set<string>
  /** Redelivered results that are on their way into the journal. */
  readonly committing: Set<number>
  /** Requests that were not settled when the run began. */
  readonly requests: number
  unsettled: number
  settledCount: number
  startedAtMs: number
  findAtMs: number
  /** When the last result came, or a peer got on with loading. */
  progressAtMs: number
  steppedAtMs: number
  /** When a second peer was last there. */
  companyAtMs: number
  /** When it is asked whether the context can ever run; infinite while no peer says that it cannot. */
  verdictAtMs: number
  /** When doubts are looked at next. */
  reviewAtMs: number
  pace: Pace
  /** When it is next asked who else should be used. */
  recruitAtMs: number
  /** When idle peers were last considered, and when copies for them or better peers are considered next. */
  fedAtMs: number
  lookAtMs: number
  /** No peer can time out before this. */
  silentAtMs: number
  /** Results that arrived for a lease no longer held: under an old epoch, or after another peer's. */
  staleCount: number
  isFinished: boolean
  /** Steps since the state was checked. */
  uncheckedSteps: number
}

/** The last measured speed of a job. */
export interface Pace {
  /** Results per second of all peers together; 0 while unknown. */
  perSecond: number
  /** Time from sending a request to its result, ms: the median over the peers; 0 while unknown. */
  requestMs: number
  /** The time of the next measurement. */
  measureAtMs: number
}

/** Requests not settled yet, as ranges, and of those that an earlier run had leased, the newest leases. */
export interface CoordinatorStart {
  ranges: readonly RequestRange[]
  leases?: Iterable<EndedLease & { n: number }>
}

export function createCoordinator(start: CoordinatorStart, options: CoordinatorOptions): CoordinatorState {
  const pending = new PendingRequests(start.ranges)
  const ended = new Map<number, EndedLease>()
  for (const { n, epoch, holders } of start.leases ?? []) ended.set(n, { epoch, holders })
  return {
    options,
    pending,
    leases: new Map(),
    ended,
    failures: new Map(),
    losses: new Map(),
    doubts: new Map(),
    book: new CandidateBook(options),
    hungry: new Set(),
    committing: new Set(),
    requests: pending.size,
    unsettled: pending.size,
    settledCount: 0,
    startedAtMs: 0,
    findAtMs: 0,
    progressAtMs: 0,
    steppedAtMs: 0,
    companyAtMs: 0,
    verdictAtMs: Infinity,
    reviewAtMs: 0,
    pace: { perSecond: 0, requestMs: 0, measureAtMs: 0 },
    recruitAtMs: 0,
    fedAtMs: 0,
    lookAtMs: 0,
    silentAtMs: 0,
    staleCount: 0,
    isFinished: false,
    uncheckedSteps: 0,
  }
}
