import type { Cancel } from '../base/clock.ts'

/** A peer and where it can be dialled: multiaddrs as text, without the peer's own id at their end. */
export interface PeerAddresses {
  peer: string
  addresses: readonly string[]
}

export interface MeetOptions {
  /** How long dialling and identifying may take, ms. */
  deadlineMs: number
  signal?: AbortSignal | undefined
}

/**
 * The peers of our swarm that we are connected to, and how to be connected to more.
 * node/ makes it from libp2p's connections and identify.
 */
export interface Members {
  /** Our own peer id, as text. */
  readonly self: string
  /** Connected peers that said that they belong to our swarm. */
  list(): string[]
  /** Where `peer` can be dialled; empty when nobody told us, or when it listens nowhere. */
  addressesOf(peer: string): Promise<string[]>
  /** Calls `listener` with each peer when it is first connected and known to be of our swarm. */
  onJoin(listener: (peer: string) => void): Cancel
  /** Calls `listener` with each member when its last connection is gone. */
  onLeave(listener: (peer: string) => void): Cancel
  /**
   * Dials an address (which may name no peer), or a peer at its addresses or at those known, and
   * resolves with the peer's id once it is known to be a member.
   * Throws `peer-unreachable`, `swarm-mismatch`, `deadline-passed` or `config-invalid`.
   */
  meet(target: string | PeerAddresses, options: MeetOptions): Promise<string>
}
