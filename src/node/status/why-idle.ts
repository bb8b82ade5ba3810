import { isHearthError } from '../../base/errors.ts'
import type { ContextStatus, PeerStatus } from './peer-status.ts'

export interface IdleFacts {
  tasks: PeerStatus['tasks']
  connectedPeers: number
  contexts: readonly ContextStatus[]
  /** The error of the last attempt to join, if it failed. */
  joinError: Error | undefined
}

const OWNER_WORDS: Readonly<Record<string, string>> = {
  paused: 'Paused. It takes no work until you run "hearth resume"',
  draining: 'It is shutting down and takes no new work',
}

/** Why a running peer is idle, in the order an owner would check; undefined while it works. */
export function whyIdle({ tasks, connectedPeers, contexts, joinError }: IdleFacts): PeerStatus['idle'] {
  if (tasks.running > 0) return undefined
  if (!tasks.accepts) {
    return { code: tasks.reason, words: OWNER_WORDS[tasks.reason] ?? `It takes no work: ${tasks.reason}` }
  }
  if (connectedPeers === 0 && isHearthError(joinError)) {
    return { code: joinError.code, words: joinError.message }
  }
  if (connectedPeers === 0) {
    return {
      code: 'no-peers',
      words:
        'No other peer is connected. On another machine, run the "hearth up --bootstrap …" command that "hearth up" printed here',
    }
  }
  if (tasks.sessions.length > 0) return whyJobWaits(tasks, contexts)
  if (tasks.lastFailure !== undefined) {
    const { contextId, reason, detail } = tasks.lastFailure
    const { label } = labelOf(contextId, contexts)
    return { code: reason, words: `The last job needs ${label}, which could not be loaded: ${detail}` }
  }
  if (contexts.length === 0) {
    return {
      code: 'no-contexts',
      words: 'Ready. The first job will fetch its model; nothing to do',
    }
  }
  return { code: 'no-job', words: 'Ready. No peer has a job for it now; nothing to do' }
}

/** Why no request of an open job runs here. */
function whyJobWaits(
  { sessions }: PeerStatus['tasks'],
  contexts: readonly ContextStatus[],
): PeerStatus['idle'] {
  for (const { contextId } of sessions) {
    const { label, context } = labelOf(contextId, contexts)
    if (context === undefined || context.tier === 'partial') {
      const percent = Math.floor(100 * (context?.share ?? 0))
      return { code: 'fetching', words: `A job waits until ${label} is fetched, ${percent} % done` }
    }
    if (context.tier !== 'warm') return { code: 'loading', words: `A job waits until ${label} is loaded` }
  }
  return { code: 'no-requests', words: 'A job is open, but its submitter has no request for this peer now' }
}

function labelOf(
  contextId: string,
  contexts: readonly ContextStatus[],
): { label: string; context: ContextStatus | undefined } {
  const context = contexts.find((known) => known.contextId === contextId)
  const name = context?.names[0]
  return { label: name === undefined ? `context ${contextId}` : `"${name}"`, context }
}
