import type { CID } from 'multiformats/cid'
import type { PeerAddresses } from './members.ts'

export interface LookupOptions {
  signal: AbortSignal
}

/** The part of a Kademlia DHT that dht/ needs. node/ makes it from @libp2p/kad-dht. */
export interface Kademlia {
  /** Peers in the routing table. */
  readonly tableSize: number
  /** The peers closest to `key` that answered, after the whole walk. Those asked are connected then. */
  closest(key: Uint8Array, options: LookupOptions): AsyncIterable<PeerAddresses>
  /** The peers said to provide `key`, as answers come in; may repeat. Leaving the loop ends the lookup. */
  providers(key: CID, options: LookupOptions): AsyncIterable<PeerAddresses>
  /** Says that we provide `key`, now and again before the record expires; resolves with how many peers were told. */
  provide(key: CID, options: LookupOptions): Promise<number>
  /** Ends saying so. Records that others hold expire by themselves. */
  stopProviding(key: CID): Promise<void>
  /**
   * Offers a connected peer to the routing table: kad-dht tries only once, when the peer is identified,
   * and a ping that was late then is never repeated. Does nothing for a client of the DHT.
   */
  admit(peer: string): Promise<void>
  /** Takes a peer that does not answer out of the routing table: kad-dht never does so by itself. */
  evict(peer: string): Promise<void>
  /** Keeps where a peer can be dialled. */
  learn(peer: PeerAddresses): Promise<void>
}
