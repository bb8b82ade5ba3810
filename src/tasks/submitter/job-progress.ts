import type { CoordinatorState } from './core/coordinator-state.ts'
import { explain } from './core/coordinator.ts'
import type { Refusal } from './core/candidate-book.ts'

/** One peer's part in a job. */
export interface PeerProgress {
  peer: string
  /** known, connecting, queued, fetching, loading, ready or refused. */
  phase: string
  detail: string | undefined
  reason: string | undefined
  outstanding: number
  results: number
}

/** How far a job is. */
export interface JobProgress {
  /** Requests settled in this run, and requests left. */
  settled: number
  unsettled: number
  elapsedMs: number
  /** Projected from this run's rate; undefined while nothing is settled. */
  leftMs: number | undefined
  peers: PeerProgress[]
  /** Unused results: they came under an old epoch, or second. */
  stale: number
  /** Why nothing runs; undefined while a request runs. */
  waiting: Refusal | undefined
}

/** A snapshot of a coordinator, for people and for `--json`. */
export function progressOf(state: CoordinatorState, elapsedMs: number): JobProgress {
  const { settledCount, unsettled } = state
  return {
    settled: settledCount,
    unsettled,
    elapsedMs,
    leftMs: settledCount === 0 ? undefined : (elapsedMs * unsettled) / settledCount,
    peers: [...state.book.all()].map((view) => ({
      peer: view.peer,
      phase: view.phase,
      detail: view.detail,
      reason: view.refusal?.words,
      outstanding: view.outstanding.size,
      results: view.resultCount,
    })),
    stale: state.staleCount,
    waiting: unsettled === 0 ? undefined : explain(state),
  }
}
