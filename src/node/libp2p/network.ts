import { UnsupportedProtocolError } from '@libp2p/interface'
import type { Stream } from '@libp2p/interface'
import type { ByteStream } from '../../base/stream/byte-stream.ts'
import type { Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import { STREAMS_PER_PROTOCOL_AND_PEER_MAX } from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import { MessageStream } from '../../base/stream/message-stream.ts'
import type { Network, OpenOptions, ProtocolName, StreamHandler } from '../../base/stream/network.ts'
import { dialError, isOpen, parsePeerId } from './dial.ts'
import type { HostNode } from './host.ts'
import type { Libp2pLanes } from './lanes.ts'
import type { Libp2pMembers } from './members.ts'
import { protocolId } from './protocols.ts'

export interface NetworkComponents {
  node: HostNode
  members: Libp2pMembers
  lanes: Libp2pLanes
  clock: Clock
  log: Logger
}

export interface NetworkOptions {
  swarm: string
  /** How long a stream may take to end after its handler has, ms. */
  closeDeadlineMs: number
}

/** The `Network` of base/ over libp2p. */
export class Libp2pNetwork implements Network {
  readonly self: string
  readonly #components: NetworkComponents
  readonly #options: NetworkOptions
  readonly #handlers = new Map<string, { handler: StreamHandler; stopped: AbortController }>()
  /** Streams being served, by protocol and remote peer. */
  readonly #served = new Map<string, number>()

  constructor(components: NetworkComponents, options: NetworkOptions) {
    this.#components = components
    this.#options = options
    this.self = components.node.peerId.toString()
  }

  async open(peer: string, protocol: ProtocolName, options: OpenOptions): Promise<MessageStream> {
    const { clock } = this.#components
    return await withDeadline(
      {
        clock,
        ms: options.deadlineMs,
        whose: `a ${protocol} stream to peer ${peer}`,
        signal: options.signal,
      },
      async (signal) =>
        new MessageStream({ clock }, await this.#openStream(peer, protocol, options, signal), peer),
      (late) => late.abort(new HearthError('stream-closed', 'the stream opened too late')),
    )
  }

  async handle(protocol: ProtocolName, handler: StreamHandler): Promise<() => Promise<void>> {
    const { node } = this.#components
    const id = protocolId(this.#options.swarm, protocol)
    const stopped = new AbortController()
    this.#handlers.set(protocol, { handler, stopped })
    await node.handle(
      id,
      (stream, connection) => this.serve(protocol, connection.remotePeer.toString(), stream),
      // Ours is the exact limit, per peer; libp2p's is per connection, and only has to be above it.
      { maxInboundStreams: STREAMS_PER_PROTOCOL_AND_PEER_MAX * 4 },
    )
    return async () => {
      stopped.abort(new HearthError('stream-closed', `${protocol} is no longer served`))
      this.#handlers.delete(protocol)
      await node.unhandle(id)
    }
  }

  /**
   * Serves one stream of `peer`, whatever it came over, within the bound on streams of one peer. Returns
   * at once; a stream of an unserved protocol is aborted.
   */
  serve(protocol: string, peer: string, stream: ByteStream): void {
    const served = this.#handlers.get(protocol)
    if (served === undefined) {
      stream.abort(new HearthError('stream-closed', `${protocol} is not served`))
      return
    }
    const key = `${protocol} ${peer}`
    const streams = this.#served.get(key) ?? 0
    if (streams >= STREAMS_PER_PROTOCOL_AND_PEER_MAX) {
      this.#components.log.warn({ peer, protocol, streams }, 'stream refused: too many at once')
      stream.abort(new HearthError('limit-reached', `peer ${peer} has ${streams} ${protocol} streams open`))
      return
    }
    this.#served.set(key, streams + 1)
    const messages = new MessageStream({ clock: this.#components.clock }, stream, peer)
    messages.onClose(() => this.#forget(key))
    // Never rejects.
    void this.#run(protocol, served.handler, messages, served.stopped.signal)
  }

  async #openStream(
    peer: string,
    protocol: ProtocolName,
    options: OpenOptions,
    signal: AbortSignal,
  ): Promise<Stream> {
    try {
      return await this.#openOnLane(peer, protocol, options.lane, signal)
    } catch (error) {
      if (error instanceof UnsupportedProtocolError) throw await this.#unsupported(peer, protocol, signal)
      throw dialError(peer, error, signal)
    }
  }

  async #openOnLane(
    peer: string,
    protocol: ProtocolName,
    lane: OpenOptions['lane'],
    signal: AbortSignal,
  ): Promise<Stream> {
    const { lanes } = this.#components
    const id = protocolId(this.#options.swarm, protocol)
    const connection = await lanes[lane](parsePeerId(peer))
    try {
      return await connection.newStream(id, { signal })
    } catch (error) {
      // A connection that turns out to be gone says nothing about the peer: it gets one more dial.
      if (isOpen(connection) || signal.aborted) throw error
      const fresh = await lanes[lane](parsePeerId(peer))
      return await fresh.newStream(id, { signal })
    }
  }

  /** The peer answered, but not to this protocol: it is of another swarm, or does not serve it. */
  async #unsupported(peer: string, protocol: ProtocolName, signal: AbortSignal): Promise<Error> {
    try {
      await this.#components.members.untilIdentified(peer, signal)
    } catch (error) {
      return error as Error
    }
    return new HearthError('peer-unreachable', `peer ${peer} does not serve ${protocol}`, {
      data: { peer, protocol, unsupported: true },
    })
  }

  async #run(
    protocol: string,
    handler: StreamHandler,
    stream: MessageStream,
    stopped: AbortSignal,
  ): Promise<void> {
    try {
      await handler(stream, stopped)
      await this.#finish(stream)
    } catch (error) {
      const { peer } = stream
      const code = isHearthError(error) ? error.code : undefined
      const level = code === undefined || code === 'internal' ? 'error' : 'info'
      this.#components.log[level]({ peer, protocol, code, error: messageOf(error) }, 'stream handler failed')
      stream.abort(error instanceof Error ? error : new Error(messageOf(error)))
    }
  }

  /** Ends our side; a peer that does not end its own in time has the stream aborted. */
  async #finish(stream: MessageStream): Promise<void> {
    if (stream.isClosed) return
    const { closeDeadlineMs } = this.#options
    const cancel = this.#components.clock.schedule(
      closeDeadlineMs,
      () => stream.abort(new HearthError('deadline-passed', `peer ${stream.peer} did not end its side`)),
      { background: true },
    )
    stream.onClose(cancel)
    await stream.close({ deadlineMs: closeDeadlineMs })
  }

  #forget(key: string): void {
    const served = (this.#served.get(key) ?? 1) - 1
    if (served === 0) this.#served.delete(key)
    else this.#served.set(key, served)
  }
}
