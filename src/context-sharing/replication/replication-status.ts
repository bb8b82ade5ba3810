import { countCopies, otherCopies, takesNow } from './core/replication-count.ts'
import type { ContextView, Replication, ReplicationCode, TakesReplicas } from './core/replication-state.ts'

/** Copies of one context, as this peer counts them. */
export interface CopiesStatus {
  contextId: string
  /** Copies on live peers, this one included. */
  copies: number
  wanted: number
  /** Copies on peers that are briefly away, and copies being made. */
  graced: number
  making: number
  /** Other peers with a copy. */
  holders: string[]
  /** The last decision: `copy-…` of docs/protocol/decision-log.md. */
  code: `copy-${ReplicationCode}` | 'copy-begun' | undefined
}

export interface ReplicationStatus {
  takes: TakesReplicas
  isDraining: boolean
  /** Spare copies that are being fetched now. */
  pulls: number
  /** Copies of the contexts that are here and of those that need copies. */
  contexts: CopiesStatus[]
}

export function replicationStatus(state: Replication, nowMs: number): ReplicationStatus {
  const contexts = [...state.contexts.values()]
    .filter(
      ({ own, pull, shortSinceMs }) =>
        own.tier !== 'absent' || pull !== undefined || shortSinceMs !== undefined,
    )
    .map((context) => copiesOf(state, context, nowMs))
    .sort((one, other) => (one.contextId < other.contextId ? -1 : 1))
  return { takes: takesNow(state, nowMs), isDraining: state.isDraining, pulls: state.pulls, contexts }
}

function copiesOf(state: Replication, context: ContextView, nowMs: number): CopiesStatus {
  const { live, graced, making, wanted } = countCopies(state, context, nowMs)
  return {
    contextId: context.contextId,
    copies: live,
    wanted,
    graced,
    making,
    holders: otherCopies(state, context, nowMs),
    code:
      context.pull !== undefined
        ? 'copy-begun'
        : context.code === undefined
          ? undefined
          : `copy-${context.code}`,
  }
}
