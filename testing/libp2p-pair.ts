// Bare libp2p nodes on 127.0.0.1: tcp, noise, yamux with the windows of base/limits.ts, and a Network over
// them. No DHT, no identify, no lanes: nodes know only those whom they were introduced to.
import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { withDeadline } from '../src/base/waiting/deadline.ts'
import { HearthError, messageOf } from '../src/base/errors.ts'
import {
  STREAM_READ_BUFFER_BYTES_MAX,
  STREAM_WINDOW_BYTES_INITIAL,
  STREAM_WINDOW_BYTES_MAX,
} from '../src/base/limits.ts'
import { MessageStream } from '../src/base/stream/message-stream.ts'
import type { Network, ProtocolName, StreamHandler } from '../src/base/stream/network.ts'
import { systemClock } from '../src/base/system-clock.ts'

export interface BareNode {
  node: Libp2p
  network: Network
  /** Where it listens, with its peer id. */
  address: string
  stop(): Promise<void>
}

export async function startBareNode(): Promise<BareNode> {
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [
      yamux({
        streamOptions: {
          initialStreamWindowSize: STREAM_WINDOW_BYTES_INITIAL,
          maxStreamWindowSize: STREAM_WINDOW_BYTES_MAX,
          maxReadBufferLength: STREAM_READ_BUFFER_BYTES_MAX,
        },
      }),
    ],
    connectionManager: { inboundConnectionThreshold: 1000, maxIncomingPendingConnections: 100 },
    connectionMonitor: { enabled: false },
  })
  return {
    node,
    network: networkOver(node),
    address: node.getMultiaddrs().map(String)[0] ?? '',
    stop: async () => await node.stop(),
  }
}

/** Tells every node where the others are. */
export async function introduceNodes(nodes: readonly BareNode[]): Promise<void> {
  for (const { node } of nodes) {
    for (const other of nodes) {
      if (node === other.node) continue
      await node.peerStore.merge(other.node.peerId, { multiaddrs: other.node.getMultiaddrs() })
    }
  }
}

function networkOver(node: Libp2p): Network {
  return {
    self: node.peerId.toString(),
    async open(peer, protocol, options) {
      const whose = `a ${protocol} stream to peer ${peer}`
      return await withDeadline(
        { ...options, ms: options.deadlineMs, clock: systemClock, whose },
        async (signal) => {
          try {
            const stream = await node.dialProtocol(peerIdFromString(peer), idOf(protocol), { signal })
            return new MessageStream({ clock: systemClock }, stream, peer)
          } catch (cause) {
            throw new HearthError('peer-unreachable', `peer ${peer}: ${messageOf(cause)}`, { cause })
          }
        },
        (late) => late.abort(new HearthError('stream-closed', 'the stream opened too late')),
      )
    },
    async handle(protocol, handler) {
      const stopped = new AbortController()
      await node.handle(
        idOf(protocol),
        (stream: Stream, connection: Connection) => void serve(handler, stream, connection, stopped.signal),
        { maxInboundStreams: 100 },
      )
      return async () => {
        stopped.abort(new HearthError('stream-closed', `${protocol} is not served any more`))
        await node.unhandle(idOf(protocol))
      }
    },
  }
}

async function serve(
  handler: StreamHandler,
  stream: Stream,
  connection: Connection,
  stopped: AbortSignal,
): Promise<void> {
  const messages = new MessageStream({ clock: systemClock }, stream, connection.remotePeer.toString())
  try {
    await handler(messages, stopped)
    if (!messages.isClosed) await messages.close({ deadlineMs: 10_000 })
  } catch (error) {
    messages.abort(error as Error)
  }
}

const idOf = (protocol: ProtocolName): string => `/hearth-test/${protocol}`
