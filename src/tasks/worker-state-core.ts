import { ResultLedger, type LedgerOptions } from './result-ledger.ts'
import type { LeaseKey, Phase, TaskRequest, TaskResult } from './task-messages.ts'

/** What decides whom a serving peer works for. */
export interface WorkerOptions extends LedgerOptions {
  /** Sessions (a submitter's job) served at once. */
  sessionsMax: number
  /** Requests wanted per slot: what is in hand plus what waits, so that no slot runs dry. */
  requestsPerSlot: number
}

export type WorkerEvent =
  | { kind: 'opened'; session: string; submitter: string; job: string; contextId: string }
  | { kind: 'requests'; session: string; requests: TaskRequest[] }
  | { kind: 'acknowledged'; session: string; keys: LeaseKey[] }
  | { kind: 'cancelled'; session: string; keys: LeaseKey[] }
  | { kind: 'lost'; session: string }
  | { kind: 'progress'; contextId: string; phase: 'fetching' | 'loading'; detail: string }
  | { kind: 'prepared'; contextId: string; slots: number }
  | { kind: 'unprepared'; contextId: string; reason: string; detail: string }
  | { kind: 'done'; run: string; result: Omit<TaskResult, 'n' | 'epoch'> }
  | { kind: 'owner'; accepts: boolean; reason?: string }
  | { kind: 'tick' }

export type WorkerEffect =
  | { kind: 'status'; session: string; phase: Phase; reason?: string; detail?: string }
  | { kind: 'credit'; session: string; requests: number }
  | { kind: 'deliver'; session: string; results: TaskResult[] }
  | { kind: 'end'; session: string; reason: string }
  /** Fetch and load a context; report `progress`, then `prepared` or `unprepared`. */
  | { kind: 'prepare'; contextId: string }
  /** Run a request; report `done`. */
  | { kind: 'run'; run: string; contextId: string; request: TaskRequest }
  | { kind: 'stop-run'; run: string }

export interface Session {
  id: string
  submitter: string
  job: string
  contextId: string
  /** Credit given out and not used yet. */
  granted: number
  /** Runs in the engine, by request number. */
  runs: Map<number, Run>
}

export interface Run {
  id: string
  session: Session
  key: LeaseKey
}

export interface ContextView {
  phase: 'preparing' | 'ready'
  slots: number
  sessions: Set<Session>
  detail: { phase: 'fetching' | 'loading'; words: string } | undefined
}

/** The whole state of one serving peer. Made by `createWorker`, changed only by `stepWorker`. */
export interface Worker {
  readonly options: WorkerOptions
  readonly sessions: Map<string, Session>
  readonly contexts: Map<string, ContextView>
  readonly runs: Map<string, Run>
  readonly ledger: ResultLedger
  accepts: boolean
  reason: string
  nextRun: number
}

export function createWorker(options: WorkerOptions): Worker {
  return {
    options,
    sessions: new Map(),
    contexts: new Map(),
    runs: new Map(),
    ledger: new ResultLedger(options),
    accepts: true,
    reason: '',
    nextRun: 1,
  }
}

/** Under which the ledger keeps what a submitter's job has not acknowledged. */
export function ledgerKey(session: Session): string {
  return `${session.submitter}/${session.job}`
}
