import { CandidateBook, type Candidate, type Refusal } from './candidate-book.ts'
import { PEER_SILENCE_MS } from '../../wire/timings.ts'
import type { RequestRange } from '../../job/request-range.ts'
import { PendingRequests } from './pending-requests.ts'
import type { LeaseKey, Outcome, Phase } from '../../wire/task-messages.ts'

/** What decides how a job is spread. Times in ms. */
export interface CoordinatorOptions {
  /** Peers that one job uses at once: each of the largest swarm that Hearth is made for, below `CONNECTIONS_MAX`. */
  peersMax: number
  /** A peer from which nothing is heard for this long is taken as lost. */
  silenceMs: number
  /** A request becomes an error line when so many peers failed on it, or when it failed so often in all. */
  failedPeersMax: number
  attemptsMax: number
  /** A peer that fails on so many requests in a row is left alone for a while: the fault is its own. */
  failuresInRowMax: number
  /** Times that a request may be lost with its peer before it becomes an error line. */
  lossesMax: number
  /** How many peers may work on one request at the tail of a job. */
  copiesMax: number
  /** At the tail, a request is copied to a peer that is expected to answer it so much sooner. */
  copyGainMs: number
  /** A peer that has answered nothing yet has this long before what it has is copied. */
  copyAfterMs: number
  /** First wait before a request or a peer is tried again; doubles up to `retryMsMax`. */
  retryMs: number
  retryMsMax: number
  /** How long a peer loads a context, how fast it fetches one, and how large it is, where nobody says. */
  loadMs: number
  fetchBytesPerSecond: number
  bytes: number
  /** Peers are looked for this often while the job runs. */
  findEveryMs: number
  /** Requests that one peer may have out, whatever credit it gives. */
  outstandingMax: number
  /** For evaluation: requests are given out so many at a time, the next ones when those are done. */
  leaseSize?: number | undefined
  /** The job is given up when no peer could run anything for this long. */
  giveUpMs: number
}

export const COORDINATOR_DEFAULTS: CoordinatorOptions = {
  peersMax: 50,
  silenceMs: PEER_SILENCE_MS,
  failedPeersMax: 3,
  attemptsMax: 6,
  failuresInRowMax: 4,
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
  | { kind: 'result'; peer: string; key: LeaseKey; outcome: Outcome }
  | { kind: 'committed'; peer: string | undefined; key: LeaseKey }
  /** The peer leaves, and did not run them. */
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
  /** Make an error line of our own durable, then report `committed`. */
  | { kind: 'fail'; key: LeaseKey; code: string; message: string }
  | { kind: 'acknowledge'; peer: string; keys: LeaseKey[] }
  | { kind: 'cancel'; peer: string; keys: LeaseKey[] }
  | { kind: 'give-up'; reason: Refusal }
  | { kind: 'finish' }

/** Who works on a request now. */
export interface Lease {
  request: number
  epoch: number
  /** One; at the tail a few. */
  peers: string[]
  /** Peers that were sent it under this epoch and do not work on it any more; what they still answer counts. */
  left: string[] | undefined
  /** A result is on its way into the journal: nothing else may happen to this request. */
  isCommitting: boolean
}

/** A lease that nobody works on, of a request that is not settled: only its holders may still answer for it. */
export interface EndedLease {
  epoch: number
  /** Every peer that was sent the request under this epoch. */
  holders: readonly string[]
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
  readonly book: CandidateBook
  /** Peers with credit and nothing to spend it on, in the order they ran dry. */
  readonly hungry: Set<string>
  /** Redelivered results that are on their way into the journal. */
  readonly committing: Set<number>
  unsettled: number
  settledCount: number
  startedAtMs: number
  findAtMs: number
  runnableAtMs: number
  pace: Pace
  /** When it is next asked who else should be used. */
  recruitAtMs: number
  /** When peers with nothing to do were last thought of, and when copies for them, or better peers, are next. */
  fedAtMs: number
  lookAtMs: number
  /** Before this no peer has been silent for too long. */
  silentAtMs: number
  /** Results that arrived for a lease no longer held: under an old epoch, or after another peer's. */
  staleCount: number
  isFinished: boolean
}

/** How fast a job goes, as it was measured last. */
export interface Pace {
  /** Results per second of all peers together; 0 while nothing is known. */
  perSecond: number
  /** What a request takes from being sent to its result, the median over the peers; 0 while nothing is known. */
  requestMs: number
  /** When it is measured again. */
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
    book: new CandidateBook(options),
    hungry: new Set(),
    committing: new Set(),
    unsettled: pending.size,
    settledCount: 0,
    startedAtMs: 0,
    findAtMs: 0,
    runnableAtMs: 0,
    pace: { perSecond: 0, requestMs: 0, measureAtMs: 0 },
    recruitAtMs: 0,
    fedAtMs: 0,
    lookAtMs: 0,
    silentAtMs: 0,
    staleCount: 0,
    isFinished: false,
  }
}
