import { createHash } from 'node:crypto'
import { peerIdFromString } from '@libp2p/peer-id'
import { CID } from 'multiformats/cid'
import type { Cancel } from '../../base/clock.ts'
import { isContextId } from '../../context-sharing/content/manifest.ts'
import type { ReplicaSwarm, SaidPeer } from '../../context-sharing/replication/replica-view.ts'
import type { AdvertBoard } from '../../dht/advert/advert-board.ts'
import type { Advert } from '../../dht/advert/advert.ts'
import type { ContentRouting, FindOptions } from '../../dht/content-routing.ts'
import { DHT_BUCKET_SIZE } from '../libp2p/timings.ts'
import {
  ADVERT_AGE_MS_MAX,
  ADVERT_DEADLINE_MS,
  ASKED_AT_ONCE,
  LOOK_UP_DEADLINE_MS,
  PROVIDERS_MAX,
} from './timings.ts'

export interface AdvertReplicaSwarmComponents {
  board: AdvertBoard
  routing: ContentRouting
}

/** Finds the holders of each context, from adverts and the DHT. */
export class AdvertReplicaSwarm implements ReplicaSwarm {
  readonly #board: AdvertBoard
  readonly #routing: ContentRouting

  constructor({ board, routing }: AdvertReplicaSwarmComponents) {
    this.#board = board
    this.#routing = routing
  }

  onPeer(listener: (said: SaidPeer) => void): Cancel {
    for (const advert of this.#board.known()) listener(saidBy(advert))
    return this.#board.onChange((advert) => listener(saidBy(advert)))
  }

  onLost(listener: (peer: string, heardMs: number) => void): Cancel {
    return this.#board.onLost(listener)
  }

  async isThere(peer: string, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#board.get(peer, { maxAgeMs: 0, deadlineMs: ADVERT_DEADLINE_MS, signal })
      return true
    } catch {
      return false
    }
  }

  async look(contextId: string, signal: AbortSignal): Promise<void> {
    const options: FindOptions = { signal, max: PROVIDERS_MAX, deadlineMs: LOOK_UP_DEADLINE_MS }
    const [holders, near] = await Promise.all([
      collect(this.#routing.find(contextId, 'stored', options)),
      collect(this.#routing.closestPeers(contextId, { ...options, max: DHT_BUCKET_SIZE })),
    ])
    const waiting = [...new Set([...holders, ...near])]
    const askNext = async (): Promise<void> => {
      for (let peer = waiting.pop(); peer !== undefined; peer = waiting.pop()) await this.#ask(peer, signal)
    }
    await Promise.all(Array.from({ length: ASKED_AT_ONCE }, askNext))
  }

  /** The position in Kademlia's key space: the hash of a multihash. */
  positionOf(id: string): number {
    const multihash = isContextId(id)
      ? CID.parse(id).multihash.bytes
      : peerIdFromString(id).toMultihash().bytes
    return createHash('sha256').update(multihash).digest().readUInt32BE(0)
  }

  /** An answer arrives through `onPeer`; silence changes nothing. */
  async #ask(peer: string, signal: AbortSignal): Promise<void> {
    const options = { maxAgeMs: ADVERT_AGE_MS_MAX, deadlineMs: ADVERT_DEADLINE_MS, signal }
    await this.#board.get(peer, options).catch(() => {})
  }
}

async function collect(found: AsyncIterable<string>): Promise<string[]> {
  const peers: string[] = []
  for await (const peer of found) peers.push(peer)
  return peers
}

/** Drops invalid context ids, which could be neither placed nor fetched. */
function saidBy({ peer, replicas, serving, contexts }: Advert): SaidPeer {
  return {
    peer,
    takes: replicas ?? 'none',
    isDraining: serving.reason === 'draining',
    contexts: contexts.filter(({ contextId }) => isContextId(contextId)),
  }
}
