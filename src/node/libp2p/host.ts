import { identify } from '@libp2p/identify'
import type { Identify } from '@libp2p/identify'
import { FaultTolerance } from '@libp2p/interface'
import type { Libp2p, PeerDiscovery, PeerInfo } from '@libp2p/interface'
import { kadDHT } from '@libp2p/kad-dht'
import type { KadDHT } from '@libp2p/kad-dht'
import { mdns } from '@libp2p/mdns'
import type { MulticastDNSComponents } from '@libp2p/mdns'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import type { Ping } from '@libp2p/ping'
import { createLibp2p } from 'libp2p'
import type { Libp2pOptions } from 'libp2p'
import { HearthError, messageOf } from '../../base/errors.ts'
import {
  CONNECTIONS_MAX,
  CONNECTION_STREAMS_MAX,
  INBOUND_CONNECTIONS_PENDING_MAX,
  INBOUND_CONNECTIONS_PER_SECOND_MAX,
  STREAM_READ_BUFFER_BYTES_MAX,
  STREAM_UNSENT_BYTES_MAX,
  STREAM_WINDOW_BYTES_INITIAL,
  STREAM_WINDOW_BYTES_MAX,
} from '../../base/limits.ts'
import { frugalYamux } from './frugal-yamux.ts'
import type { Identity } from '../home/identity.ts'
import { DHT_BUCKET_SIZE, DHT_PARALLEL_QUESTIONS, DHT_SELF_QUERY_EVERY_MS, HOST_TIMINGS } from './timings.ts'
import { dropLoopbackWhenOthersExist, listensBeyondLoopback, mapPeerInfo } from './addresses.ts'
import { noiseCrypto } from './noise-crypto.ts'
import { kademliaId, requireSwarmId } from './protocols.ts'
import { pacedTcp } from './paced-tcp.ts'

/** The services that every node has. */
export type HostServices = { identify: Identify; ping: Ping; dht: KadDHT }
export type HostNode = Libp2p<HostServices>

export interface HostOptions {
  swarm: string
  /** Multiaddrs to listen on; none for a peer that only submits. */
  listen: readonly string[]
  /** Multiaddrs to tell others instead of those listened on. */
  announce?: readonly string[]
  /** A client asks the DHT and keeps nothing for others: for peers that only submit. Default: server. */
  dhtMode?: 'server' | 'client'
  /** Find peers on the local network; only ever when listening beyond loopback. Default: true. */
  mdns?: boolean
  agentVersion?: string
  timing?: Partial<HostTiming>
}

/** Times of the network, ms. Reprovide times must be the same on all peers of a swarm. */
export interface HostTiming {
  /** One address of a peer may take this long to dial. */
  addressDialMs: number
  /** All addresses of a peer together. */
  dialMs: number
  /** A connection to us whose peer has not proved who it is by then is closed. */
  handshakeMs: number
  /** Least and most a DHT question to one peer may take. */
  dhtAnswerMinMs: number
  dhtAnswerMaxMs: number
  /** How often each connection is checked, and the least and most that a check may take. */
  connectionCheckEveryMs: number
  connectionCheckMinMs: number
  connectionCheckMaxMs: number
  /** How long a provider record is valid, how long before its end it is renewed, how often both are looked at. */
  recordValidityMs: number
  recordRenewBeforeMs: number
  recordCheckEveryMs: number
  /** How long the addresses of a peer are kept that is gone, ms: see address-upkeep.ts. */
  addressAgeMs: number
}

export const HOST_TIMING: Readonly<HostTiming> = HOST_TIMINGS

/** Handshakes begun at once: more of them only make each other late. */
const PARALLEL_DIALS_MAX = 10

/**
 * Makes the libp2p node of a peer, not yet started, so that protocols can be registered before
 * anybody connects. Throws `config-invalid`.
 */
export async function createHost(
  identity: Identity,
  options: HostOptions,
  onDiscovered: (peer: PeerInfo) => void = () => {},
): Promise<HostNode> {
  requireSwarmId(options.swarm)
  const timing: HostTiming = { ...HOST_TIMING, ...options.timing }
  return await createLibp2p<HostServices>({
    start: false,
    privateKey: identity,
    ...plainNode(options),
    // It counts from when an address was first heard; AddressUpkeep decides instead.
    peerStore: { maxAddressAge: Infinity },
    connectionManager: {
      // Above our own bounds: ConnectionDoor and the pending connections of pacedTcp choose who goes.
      maxConnections: CONNECTIONS_MAX + INBOUND_CONNECTIONS_PENDING_MAX,
      maxParallelDials: PARALLEL_DIALS_MAX,
      addressDialTimeout: timing.addressDialMs,
      dialTimeout: timing.dialMs,
      inboundConnectionThreshold: INBOUND_CONNECTIONS_PER_SECOND_MAX,
      maxIncomingPendingConnections: 2 * INBOUND_CONNECTIONS_PENDING_MAX,
      inboundUpgradeTimeout: timing.handshakeMs,
    },
    connectionMonitor: {
      pingInterval: timing.connectionCheckEveryMs,
      pingTimeout: { minTimeout: timing.connectionCheckMinMs, maxTimeout: timing.connectionCheckMaxMs },
    },
    peerDiscovery: wantsMdns(options) ? [discoverOnLan(options.swarm, onDiscovered)] : [],
    services: { identify: identify(), ping: ping(), dht: kademlia(options, timing) },
  })
}

/** Starts `node`; throws `config-invalid` when it cannot listen where it was told to. */
export async function startHost(node: HostNode, options: HostOptions): Promise<void> {
  try {
    await node.start()
  } catch (cause) {
    throw new HearthError(
      'config-invalid',
      `Cannot listen on ${options.listen.join(', ')}: ${messageOf(cause)}. Choose another address or port with --listen`,
      { data: { listen: [...options.listen] }, cause },
    )
  }
}

/** Options shared by peers and the short-lived node of discover.ts. */
export function plainNode(
  options: Pick<HostOptions, 'listen' | 'announce' | 'agentVersion'>,
): Omit<Libp2pOptions, 'services'> {
  return {
    nodeInfo: { name: 'hearth', version: options.agentVersion ?? '0' },
    addresses: {
      listen: [...options.listen],
      announce: [...(options.announce ?? [])],
      announceFilter: dropLoopbackWhenOthersExist,
    },
    transports: [pacedTcp()],
    connectionEncrypters: [noise({ crypto: noiseCrypto })],
    streamMuxers: [
      frugalYamux({
        maxInboundStreams: CONNECTION_STREAMS_MAX,
        maxOutboundStreams: CONNECTION_STREAMS_MAX,
        // The 10 that is libp2p's own ends every stream of a busy peer that opens many as soon as it has dialled.
        maxEarlyStreams: CONNECTION_STREAMS_MAX,
        streamOptions: {
          initialStreamWindowSize: STREAM_WINDOW_BYTES_INITIAL,
          maxStreamWindowSize: STREAM_WINDOW_BYTES_MAX,
          maxReadBufferLength: STREAM_READ_BUFFER_BYTES_MAX,
          maxWriteBufferLength: STREAM_UNSENT_BYTES_MAX,
        },
      }),
    ],
    transportManager: { faultTolerance: faultTolerance(options.listen) },
  }
}

/** A relay that is out of reach must not keep a peer from starting; a port in use must. */
function faultTolerance(listen: readonly string[]): FaultTolerance {
  const needsRelay = listen.some((address) => address.includes('/p2p-circuit'))
  return needsRelay ? FaultTolerance.NO_FATAL : FaultTolerance.FATAL_ALL
}

function kademlia(options: HostOptions, timing: HostTiming): ReturnType<typeof kadDHT> {
  const answerTimeout = { minTimeout: timing.dhtAnswerMinMs, maxTimeout: timing.dhtAnswerMaxMs }
  // No caller waits for these pings, and giving one up early wastes its handshake.
  const pingTimeout = { minTimeout: timing.connectionCheckMinMs, maxTimeout: timing.connectionCheckMaxMs }
  return kadDHT({
    protocol: kademliaId(options.swarm),
    clientMode: options.dhtMode === 'client',
    peerInfoMapper: mapPeerInfo,
    allowQueryWithZeroPeers: true,
    // dht/join.ts walks to our own id itself, when there is somebody to ask.
    initialQuerySelfInterval: DHT_SELF_QUERY_EVERY_MS,
    querySelfInterval: DHT_SELF_QUERY_EVERY_MS,
    kBucketSize: DHT_BUCKET_SIZE,
    alpha: DHT_PARALLEL_QUESTIONS,
    disjointPaths: DHT_PARALLEL_QUESTIONS,
    networkDialTimeout: answerTimeout,
    pingNewContactTimeout: pingTimeout,
    pingOldContactTimeout: pingTimeout,
    pingNewContactConcurrency: DHT_PARALLEL_QUESTIONS,
    reprovide: {
      validity: timing.recordValidityMs,
      threshold: timing.recordRenewBeforeMs,
      interval: timing.recordCheckEveryMs,
    },
  })
}

function wantsMdns(options: HostOptions): boolean {
  return options.mdns !== false && listensBeyondLoopback(options.listen)
}

/** mDNS under a service name of the swarm, so that swarms on one network do not even meet. */
function discoverOnLan(
  swarm: string,
  onDiscovered: (peer: PeerInfo) => void,
): (components: MulticastDNSComponents) => PeerDiscovery {
  const serviceTag = `_hearth-${swarm
    .slice(0, 32)
    .toLowerCase()
    .replaceAll(/[^0-9a-z-]/g, '-')}._udp.local`
  return (components) => {
    const discovery = mdns({ serviceTag })(components)
    discovery.addEventListener('peer', (event) => onDiscovered(event.detail))
    return discovery
  }
}
