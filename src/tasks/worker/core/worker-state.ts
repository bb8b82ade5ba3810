import {
  SUBMITTER_UNDELIVERED_BYTES_MAX,
  SUBMITTER_UNDELIVERED_RESULTS_MAX,
  TASK_CREDIT_MAX,
  TASK_SESSIONS_MAX,
  UNDELIVERED_RESULT_AGE_MS_MAX,
  UNDELIVERED_RESULT_BYTES_MAX,
} from '../../../base/limits.ts'
import { SmallMap } from '../../../base/small-map.ts'
import { REQUEST_RATE, WorkRate } from '../../../base/work-rate.ts'
import { ResultLedger, type JobResults, type LedgerOptions } from './result-ledger.ts'
import type { LeaseKey, Phase, TaskRequest, TaskResult } from '../../wire/task-messages.ts'

/**
 * How a peer keeps a context between two leases. pervasive: the context stays loaded, as in production.
 * partial: it stays on disk and is loaded for each lease. none: it is fetched for each lease, too.
 * The latter two exist for comparison and serve only jobs with a fixed lease size.
 */
export const EVALUATION_MODES = ['none', 'partial', 'pervasive'] as const
export type EvaluationMode = (typeof EVALUATION_MODES)[number]

/** The options that decide how a serving peer shares its slots. */
export interface WorkerOptions extends LedgerOptions {
  /** Sessions (a submitter's job) served at once. */
  sessionsMax: number
  /** Requests wanted per slot while it is not known how fast they are answered. */
  requestsPerSlot: number
  /** Once the speed is known: the slots, plus this much queued work, ms. */
  lookAheadMs: number
  /** The part of it that is handed to the engine ahead of a free slot, ms; at least one request per slot. */
  handOverMs: number
  /** Upper bound on the window, requests. */
  windowMax: number
  evaluate: EvaluationMode
}

export const WORKER_CORE_DEFAULTS: Readonly<WorkerOptions> = {
  sessionsMax: TASK_SESSIONS_MAX,
  requestsPerSlot: 2,
  lookAheadMs: 250,
  handOverMs: 25,
  windowMax: TASK_CREDIT_MAX,
  evaluate: 'pervasive',
  undeliveredBytesMax: UNDELIVERED_RESULT_BYTES_MAX,
  submitterUndeliveredBytesMax: SUBMITTER_UNDELIVERED_BYTES_MAX,
  submitterUndeliveredMax: SUBMITTER_UNDELIVERED_RESULTS_MAX,
  undeliveredAgeMsMax: UNDELIVERED_RESULT_AGE_MS_MAX,
}

export type WorkerEvent =
  | {
      kind: 'opened'
      session: string
      submitter: string
      job: string
      contextId: string
      /** Requests of one lease, where the submitter fixes that; otherwise it goes by credit. */
      leaseSize?: number | undefined
    }
  /** The next requests form one lease of this size: only in a session with a lease size. */
  | { kind: 'lease'; session: string; requests: number }
  | { kind: 'requests'; session: string; requests: TaskRequest[] }
  | { kind: 'acknowledged'; session: string; keys: LeaseKey[] }
  | { kind: 'cancelled'; session: string; keys: LeaseKey[] }
  | { kind: 'lost'; session: string }
  | { kind: 'progress'; contextId: string; phase: 'fetching' | 'loading'; detail: string }
  | { kind: 'prepared'; contextId: string; slots: number }
  | { kind: 'unprepared'; contextId: string; reason: string; detail: string }
  | { kind: 'discarded'; contextId: string }
  /** The engine computed something of these runs since it was last asked. */
  | { kind: 'progressed'; runs: readonly number[] }
  | { kind: 'done'; run: number; result: Omit<TaskResult, 'n' | 'epoch'> }
  | { kind: 'owner'; accepts: boolean; reason?: string }
  /** Drain: take no new requests, return unstarted ones at once, finish running ones. */
  | { kind: 'drain' }
  /** End the drain now: return running requests too. */
  | { kind: 'drain-over' }
  | { kind: 'tick' }

export type WorkerEffect =
  | { kind: 'status'; session: string; phase: Phase; reason?: string; detail?: string }
  | { kind: 'credit'; session: string; requests: number }
  | { kind: 'deliver'; session: string; results: TaskResult[] }
  | { kind: 'return'; session: string; keys: LeaseKey[] }
  | { kind: 'end'; session: string; reason: string }
  /** Fetch and load a context; report `progress`, then `prepared` or `unprepared`. */
  | { kind: 'prepare'; contextId: string }
  /** Unload a context and, unless `keepsFiles`, remove it from the disk; report `discarded`. */
  | { kind: 'discard'; contextId: string; keepsFiles: boolean }
  /** Run a request; report `done`. */
  | { kind: 'run'; run: number; contextId: string; request: TaskRequest }
  | { kind: 'stop-run'; run: number }

export interface Session {
  id: string
  submitter: string
  job: string
  contextId: string
  context: ContextView
  /** State shared with the other sessions of its submitter. */
  share: Share
  /** When its submitter was last told that the engine computes. */
  toldAtMs: number
  /** Results that the ledger keeps until the submitter acknowledges them. */
  results: JobResults
  leaseSize: number | undefined
  /** The lease that it has now; only with a lease size. */
  lease: FixedLease | undefined
  /** Credit given out and not used yet. */
  granted: number
  /** Requests that wait for the engine or for the context. */
  waiting: TaskRequest[]
  /** Runs in the engine, by request number. */
  runs: SmallMap<Run>
}

/** One submitter's share of a context: all its sessions together. */
export interface Share {
  sessions: number
  /** Slot time of its runs that are over; an idle time is passed over. */
  usedMs: number
  /** The usual slot time of its requests; 0 while unknown. */
  requestMs: number
  /** Runs in the engine; those of them in a slot; the sum of the times at which these began. */
  out: number
  inSlots: number
  slotAtSumMs: number
  /** When it last used its credit, or got some after it had none. */
  usedAtMs: number
  /** Whether it had a part of the window when that was last shared. */
  isActive: boolean
}

/** Requests that are run as a unit: their results are given back together. */
export interface FixedLease {
  /** Requests that have still to come, and those that are not done. */
  toArrive: number
  left: number
  results: TaskResult[]
}

export interface Run {
  id: number
  session: Session
  /** In which it began: that of the session, also once the worker has dropped it. */
  context: ContextView
  /** The session's share when it began. */
  share: Share
  request: TaskRequest
  /** When it got its slot in the engine; undefined while it is ahead of one. */
  slotAtMs: number | undefined
  /** When the engine last computed something of it; whether it ever did. */
  progressAtMs: number
  hasBegun: boolean
}

export type ContextPhase = 'idle' | 'preparing' | 'ready' | 'discarding'

export interface ContextView {
  contextId: string
  phase: ContextPhase
  slots: number
  /** Runs in the engine, and results per second, all sessions together. */
  running: number
  rate: WorkRate
  /** Runs that have a slot, and those that were handed over ahead of a free one, in order. */
  inSlots: number
  ahead: Run[]
  /** The usual slot time of a request; 0 while unknown. */
  usualMs: number
  /** When the engine last computed anything; the latest run of which it did. */
  progressAtMs: number
  begunRun: number
  /** State of start-time fair queueing: the present turn, each submitter's share, and those of lost sessions with runs. */
  turn: number
  shares: Map<string, Share>
  absent: Map<string, Share>
  /** In the order of their turns. */
  sessions: Session[]
  /** Whether its sessions are looked at when this event is dealt with. */
  isTouched: boolean
  /** Whether the worker has dropped it: another may have its id now. */
  isDropped: boolean
  detail: { phase: 'fetching' | 'loading'; words: string } | undefined
}

/** The whole state of one serving peer. Made by `createWorker`, changed only by `stepWorker`. */
export interface WorkerState {
  readonly options: WorkerOptions
  readonly sessions: Map<string, Session>
  readonly contexts: Map<string, ContextView>
  readonly runs: SmallMap<Run>
  readonly ledger: ResultLedger
  /** Contexts whose sessions are looked at when an event is dealt with: who runs next, who gets credit. */
  readonly touched: ContextView[]
  accepts: boolean
  reason: string
  isDraining: boolean
  nextRun: number
  tickedAtMs: number
  /** Steps since the state was checked. */
  uncheckedSteps: number
}

export function createWorker(options: WorkerOptions): WorkerState {
  return {
    options,
    sessions: new Map(),
    contexts: new Map(),
    runs: new SmallMap(),
    ledger: new ResultLedger(options),
    touched: [],
    accepts: true,
    reason: '',
    isDraining: false,
    nextRun: 1,
    tickedAtMs: 0,
    uncheckedSteps: 0,
  }
}

export function createContext(contextId: string): ContextView {
  return {
    contextId,
    phase: 'idle',
    slots: 0,
    running: 0,
    inSlots: 0,
    ahead: [],
    usualMs: 0,
    progressAtMs: 0,
    begunRun: 0,
    turn: 0,
    shares: new Map(),
    absent: new Map(),
    rate: new WorkRate(REQUEST_RATE),
    sessions: [],
    isTouched: false,
    isDropped: false,
    detail: undefined,
  }
}
