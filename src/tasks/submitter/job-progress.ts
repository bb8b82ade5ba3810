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
  /** Projected from this run's rate; undefined while nothing is settled, and while nothing runs. */
  leftMs: number | undefined
  /** Completion tokens of this run per second in which requests ran; undefined when its peer is of an older version. */
  tokensPerSecond?: number | undefined
  peers: PeerProgress[]
  /** Unused results: they came under an old epoch, or second. */
  stale: number
  /** Why nothing runs; undefined while a request runs. */
  waiting: Refusal | undefined
}

/** The time of a run in which requests ran: waiting for peers says nothing about the rate. */
export class WorkTime {
  #workedMs = 0
  #sinceMs: number | undefined

  /** Whether requests run from now on. */
  note(isWorking: boolean, nowMs: number): void {
    this.#workedMs = this.workedMs(nowMs)
    this.#sinceMs = isWorking ? nowMs : undefined
  }

  workedMs(nowMs: number): number {
    return this.#workedMs + (this.#sinceMs === undefined ? 0 : nowMs - this.#sinceMs)
  }
}

/** How long a run has taken and worked, and what it computed. */
export interface RunAmounts {
  elapsedMs: number
  workedMs: number
  completionTokens: number
}

/** A snapshot of a coordinator, for people and for `--json`. */
export function progressOf(
  state: CoordinatorState,
  { elapsedMs, workedMs, completionTokens }: RunAmounts,
): JobProgress {
  const { settledCount, unsettled } = state
  const waiting = unsettled === 0 ? undefined : explain(state, state.startedAtMs + elapsedMs)
  const isProjectable = settledCount > 0 && waiting === undefined
  return {
    settled: settledCount,
    unsettled,
    elapsedMs,
    leftMs: isProjectable ? (workedMs * unsettled) / settledCount : undefined,
    tokensPerSecond: (completionTokens * 1000) / Math.max(1, workedMs),
    peers: [...state.book.all()].map((view) => ({
      peer: view.peer,
      phase: view.phase,
      detail: view.detail,
      reason: view.refusal?.words,
      outstanding: view.outstanding.size,
      results: view.resultCount,
    })),
    stale: state.staleCount,
    waiting,
  }
}
