// Two libp2p peers in this process, and streams between them: libp2p's own at both ends, to be wrapped.
import type { Connection, Stream } from '@libp2p/interface'
import { systemClock } from '../src/base/system-clock.ts'
import { MessageStream } from '../src/base/stream/message-stream.ts'
import type { Libp2pStack } from '../src/node/network-stack.ts'
import { startStack } from './libp2p-swarm.ts'

export interface RawPair {
  near: Stream
  far: Stream
}

export interface StreamPair {
  near: MessageStream
  far: MessageStream
  raw: RawPair
}

const PROTOCOL = '/hearth-test/pair/1'

export class StreamPairs {
  readonly nearStack: Libp2pStack
  readonly farStack: Libp2pStack
  readonly connection: Connection
  #accept: (stream: Stream) => void = () => {}

  private constructor(nearStack: Libp2pStack, farStack: Libp2pStack, connection: Connection) {
    this.nearStack = nearStack
    this.farStack = farStack
    this.connection = connection
  }

  static async start(): Promise<StreamPairs> {
    const [nearStack, farStack] = await Promise.all([startStack(), startStack()])
    const connection = await nearStack.node.dial(farStack.node.getMultiaddrs())
    const pairs = new StreamPairs(nearStack, farStack, connection)
    await farStack.node.handle(PROTOCOL, (stream) => pairs.#accept(stream), { maxInboundStreams: 1_000 })
    return pairs
  }

  async stop(): Promise<void> {
    await Promise.all([this.nearStack.stop(), this.farStack.stop()])
  }

  async openRaw(): Promise<RawPair> {
    const far = Promise.withResolvers<Stream>()
    this.#accept = far.resolve
    const near = await this.connection.newStream(PROTOCOL, { maxOutboundStreams: 1_000 })
    return { near, far: await far.promise }
  }

  async open(): Promise<StreamPair> {
    const raw = await this.openRaw()
    return {
      raw,
      near: new MessageStream({ clock: systemClock }, raw.near, 'far'),
      far: new MessageStream({ clock: systemClock }, raw.far, 'near'),
    }
  }
}
