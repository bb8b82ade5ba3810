import type { PeerInfo } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { PeerAddresses } from '../dht/members.ts'
import type { Identity } from './identity.ts'
import { createHost, startHost } from './libp2p-host.ts'
import type { HostNode, HostOptions } from './libp2p-host.ts'
import { Libp2pKademlia } from './libp2p-kademlia.ts'
import { Libp2pLanes } from './libp2p-lanes.ts'
import { Libp2pMembers, MEMBERS_OPTIONS } from './libp2p-members.ts'
import { Libp2pNetwork } from './libp2p-network.ts'

export interface StackComponents {
  identity: Identity
  clock: Clock
  log: Logger
  /** Called with peers seen on the local network: `Join.learn` takes them. */
  onDiscovered?: (peer: PeerAddresses) => void
}

export interface StackOptions extends HostOptions {
  bulkIdleMs?: number
  closeDeadlineMs?: number
  foreignGraceMs?: number
  identifyDeadlineMs?: number
}

/** Everything of libp2p that a peer needs, in the order in which it must be started. */
export class Libp2pStack {
  readonly node: HostNode
  readonly members: Libp2pMembers
  readonly lanes: Libp2pLanes
  readonly network: Libp2pNetwork
  readonly kademlia: Libp2pKademlia
  readonly #options: StackOptions

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
    this.lanes = new Libp2pLanes({ node, clock, log }, { swarm, bulkIdleMs: options.bulkIdleMs ?? 30_000 })
    this.network = new Libp2pNetwork(
      { node, members: this.members, lanes: this.lanes, clock, log },
      { swarm, closeDeadlineMs: options.closeDeadlineMs ?? 10_000 },
    )
    this.kademlia = new Libp2pKademlia(node, { swarm })
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
    await this.lanes.start()
    await startHost(this.node, this.#options)
  }

  async stop(): Promise<void> {
    this.members.stop()
    await this.lanes.stop()
    await this.node.stop()
  }

  /** Where others can dial us: full multiaddrs with our peer id. */
  get addresses(): string[] {
    return this.node.getMultiaddrs().map(String)
  }
}

function toPeerAddresses({ id, multiaddrs }: PeerInfo): PeerAddresses {
  return {
    peer: id.toString(),
    addresses: multiaddrs.map((address) => address.toString().replace(/\/p2p\/[^/]+$/, '')),
  }
}
