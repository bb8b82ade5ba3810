// How fast a job goes, and when it should be looked at again.
import { median } from './ready-cost.ts'
import type { CoordinatorState } from './coordinator-state.ts'
import { totalRate } from './tail.ts'

/** Nothing is measured or looked through more often. */
const OFTEN_MS = 100
/** What was measured may be off by such a part of what is left of the job, or of what it has taken so far. */
const LEFT_PARTS = 128
const TAKEN_PARTS = 32
/** A peer with nothing to do may get something so much later than it could, as a part of what a request takes. */
const REQUEST_PARTS = 64

/** How long the rest of the job lasts at the rate of now, ms; without a rate yet, for ever. */
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

/** How often peers that have nothing to do are thought of, ms; a request takes as long as the job, while none is answered. */
export function lookEveryMs({ pace, startedAtMs }: CoordinatorState, nowMs: number): number {
  const requestMs = pace.requestMs === 0 ? nowMs - startedAtMs : pace.requestMs
  return Math.max(OFTEN_MS, requestMs / REQUEST_PARTS)
}

/** When a `tick` could next change something, ms: one before does nothing, unless another event comes first. */
export function nextTickMs(state: CoordinatorState): number {
  if (state.isFinished) return Infinity
  const { book, options } = state
  let dueMs = Math.min(state.silentAtMs, feedDueMs(state))
  if (!book.isReached) dueMs = Math.min(dueMs, state.runnableAtMs + options.giveUpMs)
  if (book.hasRoom) dueMs = Math.min(dueMs, state.findAtMs, recruitDueMs(state))
  return dueMs
}

/** When a peer could be used that was not: it may be tried again, or pays back at another pace. */
export function recruitDueMs({ book, recruitAtMs }: CoordinatorState): number {
  return Math.min(book.retryAtMs, recruitAtMs)
}

/** When a peer that had nothing to do could get something. */
export function feedDueMs({ hungry, pending, leases, options, fedAtMs, lookAtMs }: CoordinatorState): number {
  if (hungry.size === 0) return Infinity
  if (pending.size === 0) return leases.size === 0 || options.leaseSize !== undefined ? Infinity : lookAtMs
  return pending.retryAtMs > fedAtMs ? Math.min(pending.retryAtMs, lookAtMs) : lookAtMs
}
