import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log/logger.ts'
import type { Network } from '../base/stream/network.ts'
import type { Random } from '../base/random.ts'
import { AdvertExchange } from '../dht/advert/advert-exchange.ts'
import type { AdvertBody } from '../dht/advert/advert.ts'
import { ContentRouting } from '../dht/content-routing.ts'
import { Departures } from '../dht/departures.ts'
import { Join, JOIN_OPTIONS } from '../dht/join/join.ts'
import type { Members, PeerAddresses } from '../dht/members.ts'
import { Newcomers } from '../dht/join/newcomers.ts'
import type { RememberedPeer } from '../dht/join/remembered-peers.ts'
import type { Identity } from './home/identity.ts'
import { Libp2pStack, type StackOptions } from './network-stack.ts'
import { SwarmView } from './contexts/swarm-view.ts'

export interface SwarmLinkComponents {
  clock: Clock
  random: Random
  log: Logger
  identity: Identity
  /** The current facts for this peer's advert. */
  describe(): AdvertBody
  /** Keeps peers to join through next time. */
  save(peers: readonly RememberedPeer[]): Promise<void>
}

export interface SwarmLinkOptions extends StackOptions {
  bootstrap: readonly string[]
  remembered: readonly RememberedPeer[]
}

/** Everything of one peer that speaks to its swarm, put together: libp2p, DHT, adverts, joining. */
export class SwarmLink {
  readonly network: Network
  readonly members: Members
  readonly routing: ContentRouting
  readonly view: SwarmView
  readonly join: Join
  readonly adverts: AdvertExchange
  readonly #stack: Libp2pStack
  readonly #options: SwarmLinkOptions
  readonly #newcomers: Newcomers | undefined
  readonly #departures: Departures
  #closers = new AsyncDisposableStack()

  static async create(components: SwarmLinkComponents, options: SwarmLinkOptions): Promise<SwarmLink> {
    const { identity, clock, log } = components
    const discovered: { link?: SwarmLink } = {}
    const known = new Set([
      ...options.remembered.map(({ peer }) => peer),
      ...options.bootstrap.map((address) => /\/p2p\/([^/]+)$/.exec(address)?.[1] ?? ''),
    ])
    const stack = await Libp2pStack.create(
      {
        identity,
        clock,
        log,
        onDiscovered: (peer) => discovered.link?.join.learn(peer),
        acquaintance: {
          hasAdvert: (peer) => discovered.link?.adverts.board.peek(peer) !== undefined,
          remembers: (peer) => known.has(peer),
        },
      },
      options,
    )
    discovered.link = new SwarmLink(components, options, stack)
    return discovered.link
  }

  private constructor(components: SwarmLinkComponents, options: SwarmLinkOptions, stack: Libp2pStack) {
    const { clock, random, log, identity: key } = components
    const { members, network, kademlia } = stack
    this.#stack = stack
    this.#options = options
    this.members = members
    this.network = network
    this.routing = new ContentRouting({ kademlia, self: members.self, clock, log })
    const describe = (): AdvertBody => components.describe()
    this.adverts = new AdvertExchange({ network, members, clock, log, key, describe })
    this.view = new SwarmView({ board: this.adverts.board, routing: this.routing, members })
    const save = (peers: readonly RememberedPeer[]): Promise<void> => components.save(peers)
    const { bootstrap, remembered } = options
    this.join = new Join(
      { kademlia, members, clock, random, log, save },
      { ...JOIN_OPTIONS, bootstrap, remembered },
    )
    const peersOf = (peer: string, signal: AbortSignal): Promise<PeerAddresses[]> =>
      this.adverts.peersOf(peer, signal)
    // DHT servers are found by peers that join; a DHT client has to look for peers.
    this.#newcomers =
      options.dhtMode === 'client' ? new Newcomers({ members, peersOf, clock, random, log }) : undefined
    const onGone = (peer: string): void => {
      this.adverts.board.remove(peer)
      void kademlia.evict(peer).then(() => this.join.lookNow())
    }
    this.#departures = new Departures({ members, clock, random, log, onGone })
  }

  /** Addresses given to join through. */
  get doorCount(): number {
    return this.#options.bootstrap.length
  }

  /** Where others can dial this peer, each with its peer id. */
  get addresses(): string[] {
    return this.#stack.addresses
  }

  /** The port that it listens on; undefined when it has none, or tells others another. */
  get port(): number | undefined {
    if ((this.#options.announce ?? []).length > 0) return undefined
    const port = Number(/\/tcp\/(\d+)/.exec(this.addresses[0] ?? '')?.[1])
    return port > 0 ? port : undefined
  }

  /** Protocols first, then the door: whoever connects finds all of them. */
  async start(): Promise<void> {
    const closers = new AsyncDisposableStack()
    this.#closers = closers
    try {
      await this.adverts.start()
      closers.defer(() => this.adverts.stop())
      await this.#stack.start()
      closers.defer(() => this.#stack.stop())
      this.routing.start()
      closers.defer(() => this.routing.stop())
      this.#newcomers?.start()
      closers.defer(() => this.#newcomers?.stop())
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
