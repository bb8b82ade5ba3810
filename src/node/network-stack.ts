import type { SingleKadDHT } from '@libp2p/kad-dht'
import type { PeerInfo } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log/logger.ts'
import type { Network } from '../base/stream/network.ts'
import type { PeerAddresses } from '../dht/members.ts'
import { DirectNetwork } from './direct/direct-network.ts'
import { AddressUpkeep } from './libp2p/address-upkeep.ts'
import { ConnectionDoor, type Acquaintance } from './libp2p/connection-door.ts'
import type { SlotLimits } from './door/core/slots.ts'
import type { Identity } from './home/identity.ts'
import { dialableHosts, hostToListenOn, parseAddress } from './libp2p/addresses.ts'
import { parsePeerId } from './libp2p/dial.ts'
import { createHost, HOST_TIMING, startHost } from './libp2p/host.ts'
import type { HostNode, HostOptions } from './libp2p/host.ts'
import { Libp2pKademlia } from './libp2p/kademlia.ts'
import { boundProviderRecords } from './libp2p/provider-bounds.ts'
import { Libp2pLanes } from './libp2p/lanes.ts'
import { Libp2pMembers, MEMBERS_OPTIONS } from './libp2p/members.ts'
import { Libp2pNetwork } from './libp2p/network.ts'

export interface StackComponents {
  identity: Identity
  clock: Clock
  log: Logger
  /** Called with peers seen on the local network: `Join.learn` takes them. */
  onDiscovered?: (peer: PeerAddresses) => void
  /** What is known of other peers, by which connections are dropped when there are too many. */
  acquaintance?: Acquaintance
}

/** Takes every member for one that has sent its advert. */
const NO_ACQUAINTANCE: Acquaintance = { hasAdvert: () => true, remembers: () => false }

export interface StackOptions extends HostOptions {
  /** Whether bulk goes over TLS sockets of its own where it can. Default: true. */
  directLane?: boolean
  bulkIdleMs?: number
  closeDeadlineMs?: number
  /** Default: the bounds of base/limits.ts. */
  slotLimits?: SlotLimits
  foreignGraceMs?: number
  identifyDeadlineMs?: number
}

/** Everything of libp2p that a peer needs, in the order in which it must be started. */
export class Libp2pStack {
  readonly node: HostNode
  readonly members: Libp2pMembers
  readonly lanes: Libp2pLanes
  readonly network: Network
  readonly kademlia: Libp2pKademlia
  readonly #options: StackOptions
  readonly #direct: DirectNetwork | undefined
  readonly #addressUpkeep: AddressUpkeep
  readonly #door: ConnectionDoor

  private constructor(components: StackComponents, options: StackOptions, node: HostNode) {
    const { clock, log } = components
    const { swarm } = options
    this.#options = options
    this.node = node
    this.members = new Libp2pMembers(
      { node, clock, log },
      {
        swarm,
        identifyDeadlineMs: options.identifyDeadlineMs ?? MEMBERS_OPTIONS.identifyDeadlineMs,
        foreignGraceMs: options.foreignGraceMs ?? MEMBERS_OPTIONS.foreignGraceMs,
      },
    )
    const { acquaintance = NO_ACQUAINTANCE } = components
    const isMember = (peer: string): boolean => this.members.membershipOf(peer)?.kind === 'member'
    this.#door = new ConnectionDoor({ node, isMember, acquaintance, clock, log }, options.slotLimits)
    this.lanes = new Libp2pLanes({ node, clock, log }, { swarm, bulkIdleMs: options.bulkIdleMs ?? 30_000 })
    const network = new Libp2pNetwork(
      { node, members: this.members, lanes: this.lanes, clock, log },
      { swarm, closeDeadlineMs: options.closeDeadlineMs ?? 10_000 },
    )
    const hostsOf = (peer: string): Promise<string[]> => this.#hostsOf(peer)
    this.#direct =
      options.directLane === false
        ? undefined
        : new DirectNetwork({ network, hostsOf, clock, log }, { host: hostToListenOn(options.listen) })
    this.network = this.#direct ?? network
    this.kademlia = new Libp2pKademlia(node, { swarm })
    boundProviderRecords(
      { dht: node.services.dht as SingleKadDHT, clock },
      { self: node.peerId, validityMs: options.timing?.recordValidityMs ?? HOST_TIMING.recordValidityMs },
    )
    this.#addressUpkeep = new AddressUpkeep(
      { node, clock, log, isInTable: (peer) => this.kademlia.isInTable(peer) },
      { ageMs: options.timing?.addressAgeMs ?? HOST_TIMING.addressAgeMs },
    )
  }

  /** Throws `config-invalid`. */
  static async create(components: StackComponents, options: StackOptions): Promise<Libp2pStack> {
    const tell = (peer: PeerInfo): void => components.onDiscovered?.(toPeerAddresses(peer))
    return new Libp2pStack(components, options, await createHost(components.identity, options, tell))
  }

  /**
   * Listens. Protocols may be registered with `network.handle` before or after. Who is connected is
   * watched, and the swarm named, before anybody can connect. Throws `config-invalid`.
   */
  async start(): Promise<void> {
    this.members.start()
    this.#door.start()
    await this.lanes.start()
    await startHost(this.node, this.#options)
    await this.#direct?.start()
    this.#addressUpkeep.start()
  }

  async stop(): Promise<void> {
    this.#addressUpkeep.stop()
    this.#door.stop()
    this.members.stop()
    await this.#direct?.stop()
    await this.lanes.stop()
    await this.node.stop()
  }

  /** Where others can dial us: full multiaddrs with our peer id. */
  get addresses(): string[] {
    return this.node.getMultiaddrs().map(String)
  }

  /** Where `peer` was reached, and then where it says that it can be. */
  async #hostsOf(peer: string): Promise<string[]> {
    const reached = this.node
      .getConnections(parsePeerId(peer))
      .filter(({ direction }) => direction === 'outbound')
      .map(({ remoteAddr }) => remoteAddr)
    const said = (await this.members.addressesOf(peer)).map(parseAddress)
    return dialableHosts([...reached, ...said])
  }
}

function toPeerAddresses({ id, multiaddrs }: PeerInfo): PeerAddresses {
  return {
    peer: id.toString(),
    addresses: multiaddrs.map((address) => address.toString().replace(/\/p2p\/[^/]+$/, '')),
  }
}
