import type { Cancel } from '../../base/clock.ts'
import type { SaidContext } from './core/replication-events.ts'
import type { OwnHolding, TakesReplicas } from './core/replication-state.ts'

/** The fields of a peer's advert that replication uses. */
export interface SaidPeer {
  peer: string
  takes: TakesReplicas
  isDraining: boolean
  contexts: SaidContext[]
}

/** Replication's view of the swarm. node/ builds it from adverts and the DHT. */
export interface ReplicaSwarm {
  /** Calls back with every new advert of a peer. */
  onPeer(listener: (said: SaidPeer) => void): Cancel
  /** A peer that fell silent, and when it was last heard. */
  onLost(listener: (peer: string, heardMs: number) => void): Cancel
  /** Asks a peer for its advert; returns whether it answers. */
  isThere(peer: string, signal: AbortSignal): Promise<boolean>
  /** Asks the DHT who holds a context and who is near its key, and those what they say; that comes as `onPeer`. */
  look(contextId: string, signal: AbortSignal): Promise<void>
  /** The first 32 bits of the Kademlia id of a peer or a context. */
  positionOf(id: string): number
}

/** A context that is here, complete or partial. */
export interface OwnContext extends OwnHolding {
  contextId: string
  bytes: number
}
