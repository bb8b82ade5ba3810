import type { Clock } from '../../base/clock.ts'
import { isHearthError } from '../../base/errors.ts'
import type { Network } from '../../base/stream/network.ts'
import { type Random, randomInteger } from '../../base/random.ts'
import { bytesEqual, sha256 } from '../disk/disk.ts'
import type { HeldContext } from '../store/held-context.ts'
import { OPEN_DEADLINE_MS, SILENCE_MS_MAX, holderMessageSchema } from '../wire/messages.ts'
import { type OpenedSource, bitfieldOf, openSource } from '../download/source-session.ts'

export interface AuditComponents {
  network: Network
  clock: Clock
  random: Random
}

/** `unknown`: the peer was unreachable or busy, which proves nothing. */
export type AuditOutcome = 'held' | 'lied' | 'unknown'

/**
 * Asks a peer that says that it has all of a context for one chunk of it, chosen at random, and checks
 * the chunk's hash. Never throws but the signal's reason.
 */
export async function auditReplica(
  components: AuditComponents,
  peer: string,
  context: HeldContext,
  signal: AbortSignal,
): Promise<AuditOutcome> {
  try {
    const source = await openSource(components, peer, context.contextId, { priority: 'background', signal })
    try {
      return await auditChunk(source, context, randomInteger(components.random, context.map.count), signal)
    } finally {
      source.stream.abort(new Error('the audit is over'))
    }
  } catch (error) {
    signal.throwIfAborted()
    return isHearthError(error, 'context-unknown') || isHearthError(error, 'message-invalid')
      ? 'lied'
      : 'unknown'
  }
}

async function auditChunk(
  source: OpenedSource,
  context: HeldContext,
  index: number,
  signal: AbortSignal,
): Promise<AuditOutcome> {
  const { stream } = source
  const wait = { deadlineMs: OPEN_DEADLINE_MS, signal }
  // The bitfield must be of this context. A chunk missing from it may still be announced later.
  bitfieldOf(source, context.map)
  await stream.send({ type: 'request', chunks: [index] }, wait)
  for (;;) {
    const answer = await stream.receive(holderMessageSchema, wait)
    if (answer?.type === 'have' || answer?.type === 'peers') continue
    if (answer?.type === 'reject') return 'lied'
    if (answer?.type !== 'data') return 'unknown'
    const chunk = context.map.chunk(index)
    if (answer.chunk !== index || answer.bytes !== chunk.length) return 'lied'
    const bytes = await stream.receiveBytes(answer.bytes, { deadlineMs: SILENCE_MS_MAX, signal })
    return bytesEqual(await sha256(bytes), chunk.sha256) ? 'held' : 'lied'
  }
}
