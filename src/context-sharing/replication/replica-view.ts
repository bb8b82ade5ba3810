import type { Cancel } from '../../base/clock.ts'
import type { SaidContext } from './core/replication-events.ts'
import type { OwnHolding, TakesReplicas } from './core/replication-state.ts'

/** What a peer says of itself, as far as copies go. */
export interface SaidPeer {
  peer: string
  takes: TakesReplicas
  isDraining: boolean
  contexts: SaidContext[]
}

/** What replication needs of the swarm. node/ makes it of adverts and the DHT. */
export interface ReplicaSwarm {
  /** What peers say of themselves, whenever it is new. */
  onPeer(listener: (said: SaidPeer) => void): Cancel
  /** A peer of which nothing is heard any more, and when it last was. */
  onLost(listener: (peer: string, heardMs: number) => void): Cancel
  /** Asks a peer what it says of itself: whether it answers. */
  isThere(peer: string, signal: AbortSignal): Promise<boolean>
  /** Asks the DHT who holds a context and who is near its key, and those what they say; that comes as `onPeer`. */
  look(contextId: string, signal: AbortSignal): Promise<void>
  /** The first 32 bits of the Kademlia id of a peer or a context. */
  positionOf(id: string): number
}

/** A context that is here, wholly or in part. */
export interface OwnContext extends OwnHolding {
  contextId: string
  bytes: number
}
