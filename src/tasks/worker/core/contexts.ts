// The phases of a context on a worker.
import { invariant } from '../../../base/invariants.ts'
import type { ContextPhase, ContextView, WorkerEffect, WorkerState } from './worker-state.ts'

const MOVES: Readonly<Record<ContextPhase, readonly ContextPhase[]>> = {
  idle: ['preparing'],
  preparing: ['ready', 'discarding'],
  ready: ['discarding'],
  discarding: ['idle'],
}

/** Moves a context to its next phase. Throws `internal` for a move that cannot be. */
export function moveContext(context: ContextView, phase: ContextPhase): void {
  const { contextId, phase: before } = context
  const isLegal = MOVES[before].includes(phase)
  invariant(isLegal, 'a context goes from one phase to the next', { contextId, before, phase })
  context.phase = phase
}

/** Has a context fetched and loaded. */
export function prepare(context: ContextView, effects: WorkerEffect[]): void {
  moveContext(context, 'preparing')
  effects.push({ kind: 'prepare', contextId: context.contextId })
}

/** Forgets a context without sessions. */
export function drop(state: WorkerState, context: ContextView): void {
  const { contextId, sessions } = context
  invariant(sessions.length === 0, 'a context is dropped without sessions', { contextId })
  context.isDropped = true
  invariant(state.contexts.delete(contextId), 'a context is dropped once', { contextId })
}

/** Marks the sessions of a context for a look at the end of the event. */
export function touch(state: WorkerState, context: ContextView): void {
  if (context.isTouched) return
  context.isTouched = true
  state.touched.push(context)
}
