import type { ContextView, Replication } from './replication-state.ts'

/**
 * Whether there is room for a spare copy. Contexts that only newcomers have get a small share of it, so that a
 * stranger cannot fill this peer's disk with copies of contexts that nobody uses.
 */
export function hasRoomFor(state: Replication, context: ContextView, bytes: number, nowMs: number): boolean {
  const { roomBytes, options } = state
  if (bytes > roomBytes || roomBytes <= 0) return false
  if (!isOfNewcomers(state, context, nowMs)) return true
  let takenBytes = 0
  for (const other of state.contexts.values()) {
    const isTaken = other.isTakenFromNewcomers && (other.pull !== undefined || other.own.tier !== 'absent')
    if (isTaken && other !== context && isOfNewcomers(state, other, nowMs)) takenBytes += other.bytes ?? 0
  }
  return takenBytes + bytes <= options.newcomersShare * (roomBytes + takenBytes)
}

/** Whether no peer has it of which was heard as long ago as a peer must be up to make copies itself. */
export function isOfNewcomers(state: Replication, { holders }: ContextView, nowMs: number): boolean {
  const { firstHeardMs, options } = state
  for (const peer of holders.keys()) {
    const sinceMs = firstHeardMs.get(peer) ?? nowMs
    if (nowMs - sinceMs >= options.joinAfterMs) return false
  }
  return true
}
