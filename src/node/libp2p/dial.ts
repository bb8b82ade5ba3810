import { peerIdFromString } from '@libp2p/peer-id'
import type { Connection, PeerId } from '@libp2p/interface'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'

/** The peer id in `text`. Throws `peer-unreachable`: no such peer can exist. */
export function parsePeerId(text: string): PeerId {
  try {
    return peerIdFromString(text)
  } catch (cause) {
    throw new HearthError('peer-unreachable', `${JSON.stringify(text)} is not a peer id`, {
      data: { peer: text },
      cause,
    })
  }
}

/** Whether streams can be opened on `connection`. */
export function isOpen(connection: Connection): boolean {
  return connection.status === 'open'
}

/**
 * Converts the failure of a dial or of opening a stream to Hearth's error: the reason of an abort as it
 * is, anything else as `peer-unreachable`.
 */
export function dialError(peer: string, error: unknown, signal: AbortSignal | undefined): Error {
  if (signal?.aborted === true) return signal.reason as Error
  if (isHearthError(error)) return error
  return new HearthError('peer-unreachable', `Cannot reach peer ${peer}: ${reasonsOf(error)}`, {
    data: { peer },
    cause: error,
  })
}

function reasonsOf(error: unknown): string {
  if (!(error instanceof AggregateError)) return messageOf(error)
  const reasons = new Set(error.errors.map(messageOf))
  return reasons.size === 0 ? error.message : [...reasons].join('; ')
}
