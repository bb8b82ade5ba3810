import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { Network } from '../base/network.ts'
import type { Random } from '../base/random.ts'
import { AdvertExchange } from '../dht/advert-exchange.ts'
import type { AdvertBody } from '../dht/advert.ts'
import { ContentRouting } from '../dht/content-routing.ts'
import { Departures } from '../dht/departures.ts'
import { Join, JOIN_OPTIONS } from '../dht/join.ts'
import type { Members } from '../dht/members.ts'
import { Newcomers } from '../dht/newcomers.ts'
import type { RememberedPeer } from '../dht/remembered-peers.ts'
import type { Identity } from './identity.ts'
import { createHost, startHost, type HostNode, type HostOptions } from './libp2p-host.ts'
import { Libp2pKademlia } from './libp2p-kademlia.ts'
import { Libp2pLanes } from './libp2p-lanes.ts'
import { Libp2pMembers, MEMBERS_OPTIONS } from './libp2p-members.ts'
import { Libp2pNetwork } from './libp2p-network.ts'
import { SwarmView } from './swarm-view.ts'

export interface SwarmLinkComponents {
  clock: Clock
  random: Random
  log: Logger
  identity: Identity
  /** What is true of this peer now. */
  describe(): AdvertBody
  /** Keeps peers to join through next time. */
  save(peers: readonly RememberedPeer[]): Promise<void>
}

export interface SwarmLinkOptions extends HostOptions {
  bootstrap: readonly string[]
  remembered: readonly RememberedPeer[]
}

/** A bulk connection that carries nothing is closed after this, ms. */
const BULK_IDLE_MS = 30_000
/** A stream whose handler is done may take this long to end, ms. */
const STREAM_CLOSE_MS = 5_000

/** Everything of one peer that speaks to its swarm, put together: libp2p, DHT, adverts, joining. */
export class SwarmLink {
  readonly network: Network
  readonly members: Members
  readonly routing: ContentRouting
  readonly view: SwarmView
  readonly join: Join
  readonly adverts: AdvertExchange
  readonly #node: HostNode
  readonly #options: SwarmLinkOptions
  readonly #membersWatch: Libp2pMembers
  readonly #lanes: Libp2pLanes
  readonly #newcomers: Newcomers
  readonly #departures: Departures
  #closers = new AsyncDisposableStack()

  static async create(components: SwarmLinkComponents, options: SwarmLinkOptions): Promise<SwarmLink> {
    let onDiscovered: (peer: { peer: string; addresses: string[] }) => void = () => {}
    const node = await createHost(components.identity, options, ({ id, multiaddrs }) =>
      onDiscovered({ peer: id.toString(), addresses: multiaddrs.map(String) }),
    )
    const link = new SwarmLink(components, options, node)
    onDiscovered = (peer) => link.join.learn(peer)
    return link
  }

  private constructor(components: SwarmLinkComponents, options: SwarmLinkOptions, node: HostNode) {
    const { clock, random, log, identity } = components
    const { swarm } = options
    this.#node = node
    this.#options = options
    this.#membersWatch = new Libp2pMembers({ node, clock, log }, { ...MEMBERS_OPTIONS, swarm })
    this.#lanes = new Libp2pLanes({ node, clock, log }, { swarm, bulkIdleMs: BULK_IDLE_MS })
    const members = this.#membersWatch
    const kademlia = new Libp2pKademlia(node)
    const self = peerIdFromPrivateKey(identity).toString()
    this.members = members
    this.network = new Libp2pNetwork(
      { node, members, lanes: this.#lanes, clock, log },
      { swarm, closeDeadlineMs: STREAM_CLOSE_MS },
    )
    this.routing = new ContentRouting({ kademlia, self, clock, log })
    const describe = (): AdvertBody => components.describe()
    this.adverts = new AdvertExchange({ network: this.network, members, clock, log, key: identity, describe })
    this.view = new SwarmView({ board: this.adverts.board, routing: this.routing, members })
    const save = (peers: readonly RememberedPeer[]): Promise<void> => components.save(peers)
    const { bootstrap, remembered } = options
    this.join = new Join(
      { kademlia, members, clock, random, log, save },
      { ...JOIN_OPTIONS, bootstrap, remembered },
    )
    const peersOf = (peer: string, signal: AbortSignal) => this.adverts.peersOf(peer, signal)
    this.#newcomers = new Newcomers({ members, peersOf, clock, random, log })
    const onGone = (peer: string): void => {
      this.adverts.board.remove(peer)
      void kademlia.evict(peer).catch((error: unknown) => log.debug({ peer, error }, 'eviction failed'))
    }
    this.#departures = new Departures({ members, clock, random, log, onGone })
  }

  /** Where others can dial this peer, each with its peer id. */
  get addresses(): string[] {
    return this.#node.getMultiaddrs().map(String)
  }

  /** Protocols first, then the door: whoever connects finds all of them. */
  async start(): Promise<void> {
    const closers = new AsyncDisposableStack()
    this.#closers = closers
    try {
      this.#membersWatch.start()
      closers.defer(() => this.#membersWatch.stop())
      await this.#lanes.start()
      closers.defer(() => this.#lanes.stop())
      await this.adverts.start()
      closers.defer(() => this.adverts.stop())
      await startHost(this.#node, this.#options)
      closers.defer(() => this.#node.stop())
      this.routing.start()
      closers.defer(() => this.routing.stop())
      this.#newcomers.start()
      closers.defer(() => this.#newcomers.stop())
      this.#departures.start()
      closers.defer(() => this.#departures.stop())
      closers.defer(this.join.onJoined(() => void this.routing.announceAgain()))
      this.join.start()
      closers.defer(() => this.join.stop())
    } catch (error) {
      await closers.disposeAsync()
      throw error
    }
  }

  async stop(): Promise<void> {
    await this.#closers.disposeAsync()
  }
}
