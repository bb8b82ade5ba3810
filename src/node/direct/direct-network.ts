import type { Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import { DIRECT_REFUSALS_REMEMBERED_MAX } from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import { MessageStream } from '../../base/stream/message-stream.ts'
import type { Network, OpenOptions, ProtocolName, StreamHandler } from '../../base/stream/network.ts'
import { DIRECT_PROTOCOL, directAnswerSchema, directRequestSchema } from './direct-lane-messages.ts'
import { DirectListener } from './direct-listener.ts'
import { type DirectOffer, connectDirectly } from './direct-socket.ts'
import type { Libp2pNetwork } from '../libp2p/network.ts'
import type { SocketStream } from './socket-stream.ts'

export interface DirectNetworkComponents {
  network: Libp2pNetwork
  /** Hosts at which a peer can be dialled, the likeliest first; none for one behind a relay. */
  hostsOf: (peer: string) => Promise<string[]>
  clock: Clock
  log: Logger
}

export interface DirectNetworkOptions {
  /** Where to listen for others; undefined for a peer that listens nowhere, which can still dial. */
  host: string | undefined
}

const OFFER_MS = 10_000
const PROOF_MS = 5_000
/** Asking for an offer, and one host, may take this long before libp2p is used, ms. */
const ASK_MS = 3_000
const CONNECT_MS = 1_500
/** A peer to which there is no direct lane is not asked again for so long, ms. */
const REFUSAL_MS = 600_000

/**
 * A network whose bulk streams go over a TLS 1.3 socket of their own wherever the peer can be dialled and
 * agrees, and over libp2p otherwise: libp2p's noise and yamux cost four times what TLS in native code
 * does. Who is at the other end is known from libp2p, over which each socket is agreed on; protocols,
 * limits and checks are the same on both. docs/protocol/direct.md has the exchange.
 */
export class DirectNetwork implements Network {
  readonly self: string
  readonly #components: DirectNetworkComponents
  readonly #listener: DirectListener | undefined
  /** Until when a peer is not asked for a direct lane, oldest first. */
  readonly #refusals = new Map<string, number>()
  #unhandle: (() => Promise<void>) | undefined

  constructor(components: DirectNetworkComponents, { host }: DirectNetworkOptions) {
    const { network, clock, log } = components
    this.#components = components
    this.self = network.self
    this.#listener =
      host === undefined
        ? undefined
        : new DirectListener(
            { clock, log, serve: (protocol, peer, stream) => network.serve(protocol, peer, stream) },
            { host, offerMs: OFFER_MS, proofMs: PROOF_MS },
          )
  }

  /** A peer that cannot listen for it does without. */
  async start(): Promise<void> {
    const listener = this.#listener
    if (listener === undefined) return
    try {
      await listener.start()
    } catch (error) {
      this.#components.log.warn({ error: messageOf(error) }, 'no direct lane is offered: cannot listen')
      return
    }
    this.#unhandle = await this.#components.network.handle(DIRECT_PROTOCOL, (stream, signal) =>
      answer(listener, stream, signal),
    )
  }

  async stop(): Promise<void> {
    await this.#unhandle?.()
    await this.#listener?.stop()
  }

  async handle(protocol: ProtocolName, handler: StreamHandler): Promise<() => Promise<void>> {
    return await this.#components.network.handle(protocol, handler)
  }

  async open(peer: string, protocol: ProtocolName, options: OpenOptions): Promise<MessageStream> {
    const { network, clock } = this.#components
    if (options.lane === 'control' || this.#isRefused(peer))
      return await network.open(peer, protocol, options)
    const whose = `a ${protocol} stream to peer ${peer}`
    return await withDeadline(
      { clock, ms: options.deadlineMs, whose, signal: options.signal },
      async (signal) =>
        (await this.#openDirectly(peer, protocol, signal)) ??
        (await network.open(peer, protocol, { ...options, signal })),
      abandon,
    )
  }

  /** Undefined where libp2p has to do. Throws the signal's reason. */
  async #openDirectly(
    peer: string,
    protocol: ProtocolName,
    signal: AbortSignal,
  ): Promise<MessageStream | undefined> {
    const { clock, log, hostsOf } = this.#components
    try {
      const hosts = await hostsOf(peer)
      if (hosts.length === 0) return this.#refuse(peer, 'it has no address that can be dialled')
      const offer = await this.#ask(peer, protocol, signal)
      if (typeof offer === 'string') {
        log.info({ peer, reason: offer }, 'no direct lane: libp2p is used')
        return undefined
      }
      const stream = await this.#connect(hosts, offer, signal)
      log.debug({ peer, protocol }, 'direct lane open')
      return new MessageStream({ clock }, stream, peer)
    } catch (error) {
      signal.throwIfAborted()
      return this.#refuse(peer, reasonOf(error))
    }
  }

  /** The peer's offer, or why it makes none now. */
  async #ask(peer: string, protocol: string, signal: AbortSignal): Promise<DirectOffer | string> {
    const wait = { deadlineMs: ASK_MS, signal }
    const stream = await this.#components.network.open(peer, DIRECT_PROTOCOL, { lane: 'control', ...wait })
    try {
      await stream.send({ type: 'request', protocol }, wait)
      const answer = await stream.receive(directAnswerSchema, wait)
      if (answer?.type === 'offer') return answer
      return answer?.reason ?? 'it ended the stream'
    } finally {
      await stream.close(wait).catch((error: unknown) => stream.abort(error as Error))
    }
  }

  async #connect(hosts: readonly string[], offer: DirectOffer, signal: AbortSignal): Promise<SocketStream> {
    const errors: unknown[] = []
    for (const host of hosts) {
      try {
        const whose = `a direct lane to ${host}`
        const deadline = { clock: this.#components.clock, ms: CONNECT_MS, whose, signal }
        return await withDeadline(deadline, (signal) => connectDirectly(host, offer, signal), abandon)
      } catch (error) {
        signal.throwIfAborted()
        errors.push(error)
      }
    }
    throw new AggregateError(errors, errors.map(messageOf).join('; '))
  }

  #isRefused(peer: string): boolean {
    return (this.#refusals.get(peer) ?? 0) > this.#components.clock.nowMs()
  }

  #refuse(peer: string, reason: string): undefined {
    const { clock, log } = this.#components
    log.info({ peer, reason }, 'no direct lane: libp2p is used')
    this.#refusals.delete(peer)
    this.#refusals.set(peer, clock.nowMs() + REFUSAL_MS)
    const [oldest] = this.#refusals.keys()
    if (this.#refusals.size > DIRECT_REFUSALS_REMEMBERED_MAX && oldest !== undefined)
      this.#refusals.delete(oldest)
  }
}

/** Ends a stream that opened after whoever wanted it had given up. */
function abandon(stream: { abort(error: Error): void }): void {
  stream.abort(new HearthError('stream-closed', 'the stream opened too late'))
}

async function answer(listener: DirectListener, stream: MessageStream, signal: AbortSignal): Promise<void> {
  const wait = { deadlineMs: ASK_MS, signal }
  const request = await stream.receive(directRequestSchema, wait)
  if (request !== undefined) await stream.send(listener.offer(stream.peer, request.protocol), wait)
}

function reasonOf(error: unknown): string {
  const isOff = isHearthError(error, 'peer-unreachable') && error.data['unsupported'] === true
  return isOff ? 'it does not offer any' : messageOf(error)
}
