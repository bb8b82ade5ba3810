import { isHearthError } from '../../base/errors.ts'
import type { ContextStatus, PeerStatus } from './peer-status.ts'

export interface IdleFacts {
  tasks: PeerStatus['tasks']
  connectedPeers: number
  contexts: readonly ContextStatus[]
  /** Why joining did not succeed when it was tried last. */
  joinError: Error | undefined
}

const OWNER_WORDS: Readonly<Record<string, string>> = {
  paused: 'it is paused, and takes no work until "hearth resume"',
  draining: 'it is about to leave, and takes no new work',
}

/** Why a peer that is up does no work, in the order an owner would check; undefined while it does some. */
export function whyIdle({ tasks, connectedPeers, contexts, joinError }: IdleFacts): PeerStatus['idle'] {
  if (tasks.running > 0) return undefined
  if (!tasks.accepts) {
    return { code: tasks.reason, words: OWNER_WORDS[tasks.reason] ?? `it takes no work: ${tasks.reason}` }
  }
  if (connectedPeers === 0 && isHearthError(joinError)) {
    return { code: joinError.code, words: joinError.message }
  }
  if (connectedPeers === 0) {
    return {
      code: 'no-peers',
      words: 'no other peer is connected; others join with the line that "hearth up" printed',
    }
  }
  if (tasks.sessions.length > 0) return whyJobWaits(tasks, contexts)
  if (tasks.lastFailure !== undefined) {
    const { contextId, reason, detail } = tasks.lastFailure
    const { label } = labelOf(contextId, contexts)
    return { code: reason, words: `the last job's ${label} could not be made ready: ${detail}` }
  }
  if (contexts.length === 0) {
    return {
      code: 'no-contexts',
      words:
        'it holds no model, so that a job would have to fetch one first; "hearth context add" imports one',
    }
  }
  return { code: 'no-job', words: 'no peer has a job for it now' }
}

/** A job is open here, and nothing of it runs. */
function whyJobWaits(
  { sessions }: PeerStatus['tasks'],
  contexts: readonly ContextStatus[],
): PeerStatus['idle'] {
  for (const { contextId } of sessions) {
    const { label, context } = labelOf(contextId, contexts)
    if (context === undefined || context.tier === 'partial') {
      const percent = Math.floor(100 * (context?.share ?? 0))
      return { code: 'fetching', words: `a job waits until ${label} is fetched, ${percent} % are here` }
    }
    if (context.tier !== 'warm') return { code: 'loading', words: `a job waits until ${label} is loaded` }
  }
  return { code: 'no-requests', words: 'a job is open, and its submitter has no request for this peer now' }
}

function labelOf(
  contextId: string,
  contexts: readonly ContextStatus[],
): { label: string; context: ContextStatus | undefined } {
  const context = contexts.find((known) => known.contextId === contextId)
  const name = context?.names[0]
  return { label: name === undefined ? `context ${contextId}` : `"${name}"`, context }
}
