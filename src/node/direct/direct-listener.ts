import { randomBytes } from 'node:crypto'
import type { AddressInfo, Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { Cancel, Clock } from '../../base/clock.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import {
  DIRECT_OFFERS_MAX,
  DIRECT_SOCKETS_MAX,
  INBOUND_CONNECTIONS_PENDING_MAX,
  STREAMS_PER_PROTOCOL_AND_PEER_MAX,
} from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import { type DirectAnswer, TOKEN_BYTES, WELCOME } from './direct-lane-messages.ts'
import { DIRECT_TLS, readExactly } from './direct-socket.ts'
import { PendingConnections } from '../door/core/pending.ts'
import { selfSignedCertificate } from './self-signed-certificate.ts'
import { SocketStream } from './socket-stream.ts'

export interface DirectListenerComponents {
  clock: Clock
  log: Logger
  /** Serves what a peer was offered; its errors are handled there. */
  serve: (protocol: string, peer: string, stream: SocketStream) => void
}

export interface DirectListenerOptions {
  /** The address of this machine to listen on. */
  host: string
  /** How long an offer waits for its socket, ms. */
  offerMs: number
  /** How long a socket may take to encrypt and show its token, ms. */
  proofMs: number
}

/** A token identifies the peer that received it over its authenticated connection. */
interface Offer {
  peer: string
  protocol: string
  cancelExpiry: Cancel
}

/**
 * Accepts sockets for the direct lane. Whoever connects must show a token that was offered to a peer over
 * libp2p, once and soon; that is how the listener knows who it is. The certificate lives as long as the
 * process, and is known by its fingerprint.
 */
export class DirectListener {
  readonly #components: DirectListenerComponents
  readonly #options: DirectListenerOptions
  readonly #identity = selfSignedCertificate()
  /** Keyed by token, in hex. */
  readonly #offers = new Map<string, Offer>()
  /** Keyed by the address and port at the other end. */
  readonly #sockets = new Map<string, Socket>()
  /** Those that have not shown their token, and the end of their time. */
  readonly #pending = new PendingConnections<string>({ max: INBOUND_CONNECTIONS_PENDING_MAX })
  #server: Server | undefined
  #port = 0

  constructor(components: DirectListenerComponents, options: DirectListenerOptions) {
    this.#components = components
    this.#options = options
  }

  async start(): Promise<void> {
    const { certificate: cert, key } = this.#identity
    const { proofMs: handshakeTimeout, host } = this.#options
    const server = createServer({ ...DIRECT_TLS, cert, key, handshakeTimeout })
    // Above the bounds on each: those that have to go may take a turn of the event loop.
    server.maxConnections = 2 * (DIRECT_SOCKETS_MAX + INBOUND_CONNECTIONS_PENDING_MAX)
    server.on('connection', (socket: Socket) => this.#track(socket))
    server.on('secureConnection', (socket) => void this.#admit(socket))
    server.on('tlsClientError', (error, socket) => {
      this.#refused(error)
      // Node says so and leaves it open, also when its handshake is out of time.
      socket.destroy()
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port: 0 }, resolve)
    })
    server.on('error', (error) => this.#refused(error))
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    for (const token of this.#offers.keys()) this.#take(token)
    for (const socket of this.#sockets.values()) socket.destroy()
    if (server !== undefined) await new Promise((resolve) => server.close(resolve))
  }

  /** An offer to `peer`, good for one socket that speaks `protocol`; or why there is none. */
  offer(peer: string, protocol: string): DirectAnswer {
    if (this.#server === undefined) return { type: 'refusal', reason: 'it is stopping' }
    const ofPeer = [...this.#offers.values()].filter((offer) => offer.peer === peer)
    if (this.#offers.size >= DIRECT_OFFERS_MAX || ofPeer.length >= STREAMS_PER_PROTOCOL_AND_PEER_MAX) {
      return { type: 'refusal', reason: 'too many offers are open' }
    }
    const token = randomBytes(TOKEN_BYTES)
    const key = token.toString('hex')
    const cancelExpiry = this.#components.clock.schedule(
      this.#options.offerMs,
      () => void this.#offers.delete(key),
      { background: true },
    )
    this.#offers.set(key, { peer, protocol, cancelExpiry })
    return {
      type: 'offer',
      port: this.#port,
      fingerprint: this.#identity.fingerprint,
      token: new Uint8Array(token),
    }
  }

  #track(socket: Socket): void {
    const { proofMs } = this.#options
    const key = keyOf(socket)
    this.#sockets.set(key, socket)
    const tooMany = this.#pending.enter(key, socket.remoteAddress ?? '')
    if (tooMany !== undefined) this.#sockets.get(tooMany)?.destroy()
    const cancel = this.#components.clock.schedule(
      proofMs,
      () => {
        if (this.#pending.has(key)) socket.destroy()
      },
      { background: true },
    )
    socket.once('close', () => {
      cancel()
      this.#pending.leave(key)
      this.#sockets.delete(key)
    })
  }

  async #admit(socket: TLSSocket): Promise<void> {
    try {
      const token = await readExactly(socket, TOKEN_BYTES)
      const offer = this.#take(token.toString('hex'))
      if (offer === undefined) throw new HearthError('message-invalid', 'its token was never offered')
      if (this.#sockets.size - this.#pending.size >= DIRECT_SOCKETS_MAX)
        throw new HearthError('limit-reached', `${DIRECT_SOCKETS_MAX} sockets are open`)
      this.#pending.leave(keyOf(socket))
      socket.write(Uint8Array.of(WELCOME))
      this.#components.serve(offer.protocol, offer.peer, new SocketStream(socket))
    } catch (error) {
      this.#refused(error)
      socket.destroy()
    }
  }

  #take(token: string): Offer | undefined {
    const offer = this.#offers.get(token)
    offer?.cancelExpiry()
    this.#offers.delete(token)
    return offer
  }

  #refused(error: unknown): void {
    this.#components.log.debug({ error: messageOf(error) }, 'a socket on the direct lane was refused')
  }
}

const keyOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`
