import {
  type CreateListenerOptions,
  type DialTransportOptions,
  type MultiaddrConnection,
  type Stream,
  StreamMessageEvent,
  type Transport,
  type Upgrader,
} from '@libp2p/interface'
import { type TCPComponents, tcp } from '@libp2p/tcp'
import { HearthError } from '../../base/errors.ts'
import { INBOUND_CONNECTIONS_PENDING_MAX, LIBP2P_TURN_BYTES } from '../../base/limits.ts'
import { TurnBudget, type TurnSource } from '../../base/turn-budget.ts'
import { countYoungGarbage } from '../../base/young-garbage.ts'
import { PendingConnections } from '../door/core/pending.ts'

/**
 * libp2p's TCP, of which no more than LIBP2P_TURN_BYTES are decrypted in one turn of the event loop, and which
 * silent connections cannot block.
 */
export function pacedTcp(): (components: TCPComponents) => Transport {
  const budget = new TurnBudget(LIBP2P_TURN_BYTES)
  const pending = new PendingConnections<MultiaddrConnection>({ max: INBOUND_CONNECTIONS_PENDING_MAX })
  return (components) => {
    const transport: Transport = tcp()(components)
    const paced = <Options extends { upgrader: Upgrader }>(options: Options): Options => ({
      ...options,
      upgrader: pacedUpgrader(options.upgrader, budget, pending),
    })
    const dial = transport.dial.bind(transport)
    const createListener = transport.createListener.bind(transport)
    transport.dial = (address, options: DialTransportOptions) => dial(address, paced(options))
    transport.createListener = (options: CreateListenerOptions) => createListener(paced(options))
    return transport
  }
}

/** Sees every connection before anything is read from it. */
function pacedUpgrader(
  upgrader: Upgrader,
  budget: TurnBudget,
  pending: PendingConnections<MultiaddrConnection>,
): Upgrader {
  return {
    upgradeOutbound: (connection: MultiaddrConnection, options: never) =>
      upgrader.upgradeOutbound(pace(connection, budget), options),
    upgradeInbound: async (connection: MultiaddrConnection, options: never) => {
      const host = connection.remoteAddr.getComponents()[0]?.value ?? ''
      pending
        .enter(connection, host)
        ?.abort(new HearthError('limit-reached', 'too many connections have not said whose they are'))
      try {
        await upgrader.upgradeInbound(pace(connection, budget), options)
      } finally {
        pending.leave(connection)
      }
    },
    createInboundAbortSignal: (signal) => upgrader.createInboundAbortSignal(signal),
    getStreamMuxers: () => upgrader.getStreamMuxers(),
    getConnectionEncrypters: () => upgrader.getConnectionEncrypters(),
  }
}

/** Fields of @libp2p/tcp connections that their interface leaves out. */
type Pausable = MultiaddrConnection & Pick<Stream, 'readStatus'>

/**
 * Counts what is handed on. Not as a listener: bytes that come before the encrypter listens are kept for
 * it only as long as nobody else does.
 */
function pace(connection: MultiaddrConnection, budget: TurnBudget): MultiaddrConnection {
  const pausable = connection as Pausable
  const source: TurnSource = {
    pauseForTurn() {
      if (pausable.readStatus === 'readable') pausable.pause()
    },
    resumeAfterTurn() {
      if (pausable.readStatus === 'paused') pausable.resume()
    },
  }
  const dispatch = connection.dispatchEvent.bind(connection)
  connection.dispatchEvent = (event) => {
    if (event instanceof StreamMessageEvent) {
      budget.spend(source, event.data.byteLength)
      countYoungGarbage(event.data.byteLength)
    }
    return dispatch(event)
  }
  const send = connection.send.bind(connection)
  connection.send = (data) => {
    countYoungGarbage(data.byteLength)
    return send(data)
  }
  return connection
}
