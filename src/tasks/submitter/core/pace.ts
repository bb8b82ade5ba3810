// Measures the speed of a job, and decides when to look at it again.
import { median } from './ready-cost.ts'
import type { CoordinatorState } from './coordinator-state.ts'
import { totalRate } from './tail.ts'

/** Shortest interval between two measurements. */
const OFTEN_MS = 100
/** Allowed error of a measurement, as a share of the job's remaining or elapsed time. */
const LEFT_PARTS = 128
const TAKEN_PARTS = 32
/** Allowed delay of new work for an idle peer, as a share of a request's time. */
const REQUEST_PARTS = 64

/** Remaining time of the job at the present rate, ms; infinite while the rate is unknown. */
export function projectedMs({ unsettled, pace }: CoordinatorState): number {
  return pace.perSecond === 0 ? Infinity : (1_000 * unsettled) / pace.perSecond
}

/** Measures the rate anew when that is due: to be called before `projectedMs`. */
export function measureWhenDue(state: CoordinatorState, nowMs: number): void {
  if (nowMs >= state.pace.measureAtMs) measure(state, nowMs)
}

function measure(state: CoordinatorState, nowMs: number): void {
  const { pace, book } = state
  pace.perSecond = totalRate(book, nowMs)
  const times: number[] = []
  for (const { tookMs } of book.linked()) if (tookMs > 0) times.push(tookMs)
  pace.requestMs = median(times) ?? 0
  const takenMs = nowMs - state.startedAtMs
  const partMs = Math.min(projectedMs(state) / LEFT_PARTS, takenMs / TAKEN_PARTS)
  // Less than a request takes tells nothing new: at the tail, what is left is shorter than that.
  pace.measureAtMs = nowMs + Math.max(OFTEN_MS, pace.requestMs / REQUEST_PARTS, partMs)
}

/** How often idle peers are considered, ms. Before the first answer, a request's time is the job's elapsed time. */
export function lookEveryMs({ pace, startedAtMs }: CoordinatorState, nowMs: number): number {
  const requestMs = pace.requestMs === 0 ? nowMs - startedAtMs : pace.requestMs
  return Math.max(OFTEN_MS, requestMs / REQUEST_PARTS)
}

/** The next time at which a `tick` could have an effect, ms, unless another event comes first. */
export function nextTickMs(state: CoordinatorState): number {
  if (state.isFinished) return Infinity
  const { book, options } = state
  // A doubt has its own deadline, after which a result is there.
  const doneMs = state.doubts.size > 0 ? state.reviewAtMs : state.progressAtMs + options.giveUpMs
  let dueMs = Math.min(state.silentAtMs, feedDueMs(state), state.verdictAtMs, doneMs)
  if (book.hasRoom) dueMs = Math.min(dueMs, state.findAtMs, recruitDueMs(state))
  return dueMs
}

/** When a peer could be used that was not: it may be tried again, or pays back at another pace. */
export function recruitDueMs({ book, recruitAtMs }: CoordinatorState): number {
  return Math.min(book.retryAtMs, recruitAtMs)
}

/** When an idle peer could get a request. */
export function feedDueMs({ hungry, pending, leases, options, fedAtMs, lookAtMs }: CoordinatorState): number {
  if (hungry.size === 0) return Infinity
  if (pending.size === 0) return leases.size === 0 || options.leaseSize !== undefined ? Infinity : lookAtMs
  return pending.retryAtMs > fedAtMs ? Math.min(pending.retryAtMs, lookAtMs) : lookAtMs
}
