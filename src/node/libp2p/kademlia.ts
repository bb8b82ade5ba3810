import type { PeerId, PeerInfo } from '@libp2p/interface'
import type { SingleKadDHT } from '@libp2p/kad-dht'
import type { CID } from 'multiformats/cid'
import type { Kademlia, LookupOptions } from '../../dht/kademlia.ts'
import type { PeerAddresses } from '../../dht/members.ts'
import { dropLoopbackWhenOthersExist, parseAddress } from './addresses.ts'
import { parsePeerId } from './dial.ts'
import type { HostNode } from './host.ts'
import { kademliaId } from './protocols.ts'

/** These are public in kad-dht 16.4.5 but missing from its types. */
interface FullRoutingTable {
  size: number
  add(peer: PeerId): Promise<void>
  remove(peer: PeerId): Promise<void>
  find(peer: PeerId): Promise<PeerId | undefined>
}

/** dht/'s Kademlia over @libp2p/kad-dht. */
export class Libp2pKademlia implements Kademlia {
  readonly #node: HostNode
  readonly #dht: SingleKadDHT
  readonly #protocol: string

  constructor(node: HostNode, options: { swarm: string }) {
    this.#node = node
    this.#dht = node.services.dht as SingleKadDHT
    this.#protocol = kademliaId(options.swarm)
  }

  get #table(): FullRoutingTable {
    return this.#dht.routingTable as FullRoutingTable
  }

  get tableSize(): number {
    return this.#dht.routingTable.size
  }

  async *closest(key: Uint8Array, options: LookupOptions): AsyncIterable<PeerAddresses> {
    for await (const event of this.#dht.getClosestPeers(key, options)) {
      if (event.name === 'FINAL_PEER') yield toAddresses(event.peer)
    }
  }

  async *providers(key: CID, options: LookupOptions): AsyncIterable<PeerAddresses> {
    for await (const event of this.#dht.findProviders(key, options)) {
      if (event.name === 'PROVIDER') yield* event.providers.map(toAddresses)
    }
  }

  async provide(key: CID, options: LookupOptions): Promise<number> {
    let told = 0
    for await (const event of this.#dht.provide(key, options)) {
      if (event.name === 'PEER_RESPONSE' && event.messageName === 'ADD_PROVIDER') told += 1
    }
    return told
  }

  async stopProviding(key: CID): Promise<void> {
    await this.#dht.cancelReprovide(key)
  }

  async admit(peer: string): Promise<void> {
    const known = await this.#node.peerStore.get(parsePeerId(peer)).catch(() => undefined)
    if (known?.protocols.includes(this.#protocol) === true) await this.#table.add(known.id)
  }

  async evict(peer: string): Promise<void> {
    if (this.#node.status === 'started') await this.#table.remove(parsePeerId(peer))
  }

  async isInTable(peer: string): Promise<boolean> {
    return (await this.#table.find(parsePeerId(peer))) !== undefined
  }

  async learn({ peer, addresses }: PeerAddresses): Promise<void> {
    if (addresses.length === 0) return
    await this.#node.peerStore.merge(parsePeerId(peer), { multiaddrs: addresses.map(parseAddress) })
  }
}

function toAddresses(info: PeerInfo): PeerAddresses {
  return {
    peer: info.id.toString(),
    addresses: dropLoopbackWhenOthersExist(info.multiaddrs).map((address) =>
      address.toString().replace(/\/p2p\/[^/]+$/, ''),
    ),
  }
}
