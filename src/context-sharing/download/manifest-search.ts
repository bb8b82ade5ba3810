import { type Clock, sleep } from '../../base/clock.ts'
import { listedBackoffMs } from '../../base/waiting/backoff.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { Network } from '../../base/stream/network.ts'
import type { FindHolders } from './fetch.ts'
import { contextIdOf } from '../content/manifest.ts'
import { OPEN_DEADLINE_MS } from '../wire/messages.ts'
import { openSource, receiveManifest } from './source-session.ts'

/** Holders asked in parallel, so that one that hangs does not delay the others. */
const ASKED_AT_ONCE = 3
/** Waits between rounds, ms. */
const RETRY_WAITS_MS = [500, 1000, 2000, 5000]

export interface ManifestSearchComponents {
  network: Network
  findHolders: FindHolders
  clock: Clock
  log: Logger
  isBanned: (peer: string) => boolean
  ban: (peer: string) => void
}

export interface FoundManifest {
  bytes: Uint8Array
  /** Peers that may hold the context. */
  peers: string[]
}

/**
 * Gets the manifest of a context from the first holder that sends the right one. Throws `context-unavailable`
 * when no holder has sent it within `unavailableAfterMs`, or the signal's reason.
 */
export async function findManifest(
  components: ManifestSearchComponents,
  contextId: string,
  options: { unavailableAfterMs: number; signal: AbortSignal },
): Promise<FoundManifest> {
  const { clock } = components
  const deadlineMs = clock.nowMs() + options.unavailableAfterMs
  let reason = 'no known peer has it'
  for (let round = 0; ; round += 1) {
    const peers = await findPeers(components, contextId, deadlineMs, options.signal)
    for (let from = 0; from < peers.length; from += ASKED_AT_ONCE) {
      const asked = peers.slice(from, from + ASKED_AT_ONCE)
      const answers = asked.map((peer) => askPeer(components, peer, contextId, options.signal))
      try {
        return { bytes: await Promise.any(answers), peers }
      } catch (error) {
        reason = `none of ${peers.length} peers that may have it sent its manifest; the last one answered: ${lastOf(error)}`
      }
      options.signal.throwIfAborted()
    }
    const waitMs = listedBackoffMs(RETRY_WAITS_MS, round + 1)
    if (clock.nowMs() + waitMs >= deadlineMs) throw unavailable(contextId, options.unavailableAfterMs, reason)
    await sleep(clock, waitMs, options.signal)
  }
}

async function findPeers(
  components: ManifestSearchComponents,
  contextId: string,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<string[]> {
  const { clock, findHolders, isBanned, log, network } = components
  const ms = Math.max(1, deadlineMs - clock.nowMs())
  try {
    const peers = await withDeadline({ clock, ms, whose: 'the holders of a context', signal }, (signal) =>
      findHolders(contextId, { signal }),
    )
    return [...new Set(peers)].filter((peer) => peer !== network.self && !isBanned(peer))
  } catch (error) {
    signal.throwIfAborted()
    log.debug({ contextId, error: messageOf(error) }, 'looking for holders failed')
    return []
  }
}

async function askPeer(
  components: ManifestSearchComponents,
  peer: string,
  contextId: string,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { clock } = components
  const whose = `the manifest from peer ${peer}`
  return await withDeadline({ clock, ms: OPEN_DEADLINE_MS, whose, signal }, async (signal) => {
    const source = await openSource(components, peer, contextId, { priority: 'normal', signal })
    try {
      const bytes = await receiveManifest(source, signal)
      if (contextIdOf(bytes) === contextId) return bytes
      components.ban(peer)
      throw new HearthError('message-invalid', `peer ${peer} sent a manifest of another context`)
    } finally {
      await source.stream
        .close({ deadlineMs: OPEN_DEADLINE_MS, signal })
        .catch((error: unknown) => source.stream.abort(error as Error))
    }
  })
}

function lastOf(error: unknown): string {
  return messageOf(error instanceof AggregateError ? error.errors.at(-1) : error)
}

function unavailable(contextId: string, ms: number, reason: string): HearthError {
  return new HearthError(
    'context-unavailable',
    `cannot fetch context ${contextId} within ${ms} ms: ${reason}. Try again when a peer that has it is up`,
    { data: { contextId, reason } },
  )
}
