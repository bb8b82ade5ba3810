import type { Peer } from '@libp2p/interface'
import { every, type Cancel, type Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/errors.ts'
import { ADDRESSED_PEERS_MAX } from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import { parsePeerId } from './dial.ts'
import type { HostNode } from './host.ts'

export interface AddressUpkeepComponents {
  node: HostNode
  /** Whether the DHT's routing table has the peer: its addresses are told to others. */
  isInTable: (peer: string) => Promise<boolean>
  clock: Clock
  log: Logger
}

/** Looks at the addresses this often within their age. */
const LOOKS_PER_AGE = 4

/** @libp2p/peer-store puts this on every peer, but its types leave it out. */
type StoredPeer = Peer & { updated?: number }

/**
 * Decides how long the addresses of other peers are kept: as long as a peer is connected or in the routing
 * table, and `ageMs` after it was last heard of otherwise. libp2p's own rule counts from the first time that an
 * address was heard, so that it would forget where connected peers are (host.ts turns that off).
 */
export class AddressUpkeep {
  readonly #components: AddressUpkeepComponents
  readonly #ageMs: number
  #cancel: Cancel = () => {}
  #isLooking = false

  constructor(components: AddressUpkeepComponents, options: { ageMs: number }) {
    this.#components = components
    this.#ageMs = options.ageMs
  }

  start(): void {
    const { clock, log } = this.#components
    this.#cancel = every(clock, this.#ageMs / LOOKS_PER_AGE, () => {
      if (this.#isLooking) return
      this.#isLooking = true
      this.#look()
        .catch((error: unknown) => log.warn({ error: messageOf(error) }, 'addresses could not be tidied'))
        .finally(() => (this.#isLooking = false))
    })
  }

  stop(): void {
    this.#cancel()
  }

  async #look(): Promise<void> {
    const { node, clock, isInTable } = this.#components
    const connected = new Set(node.getPeers().map(String))
    const others: StoredPeer[] = []
    for (const peer of await node.peerStore.all()) {
      const id = peer.id.toString()
      if (connected.has(id)) await this.#keepOwnWord(peer)
      else if (!(await isInTable(id))) others.push(peer)
    }
    const oldestMs = clock.wallMs() - this.#ageMs
    const latestFirst = others.toSorted((a, b) => (b.updated ?? 0) - (a.updated ?? 0))
    for (const [index, peer] of latestFirst.entries())
      if (index >= ADDRESSED_PEERS_MAX || (peer.updated ?? 0) < oldestMs) await node.peerStore.delete(peer.id)
  }

  /** Once a connected peer has signed addresses itself, only these are kept. */
  async #keepOwnWord(peer: Peer): Promise<void> {
    if (!hasHearsay(peer)) return
    // Read again, since identify may have brought others meanwhile.
    const { node } = this.#components
    const now = await node.peerStore.get(parsePeerId(peer.id.toString()))
    if (!hasHearsay(now)) return
    await node.peerStore.patch(now.id, { addresses: now.addresses.filter(({ isCertified }) => isCertified) })
  }
}

function hasHearsay({ addresses }: Peer): boolean {
  const signed = addresses.filter(({ isCertified }) => isCertified).length
  return signed > 0 && signed < addresses.length
}
