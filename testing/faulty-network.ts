// A network that corrupts the chunks that a peer serves, for tests and for bench/swarm. The peer
// itself is honest and knows nothing of it; the faults come between it and its streams, as a liar's or a
// broken link's would. Also counts what is sent.
import type { WaitOptions } from '../src/base/stream/message-stream.ts'
import type { MessageStream } from '../src/base/stream/message-stream.ts'
import type { Network, ProtocolName, StreamHandler } from '../src/base/stream/network.ts'
import type { Random } from '../src/base/random.ts'
import { Bitfield } from '../src/context-sharing/content/bitfield.ts'
import { CONTEXT_PROTOCOL } from '../src/context-sharing/wire/messages.ts'

export type FaultKind = 'corrupt' | 'stall' | 'truncate' | 'reset' | 'lie'

export interface Fault {
  kind: FaultKind
  /** How much of what it could spoil it spoils: 1 for everything. Chunks; for `lie`, chunks said to be held. */
  share: number
}

export interface FaultyNetworkOptions {
  random: Random
  fault?: Fault | undefined
  /** Told of the bytes of every chunk that is sent. */
  onSent?: (bytes: number) => void
}

/** `network`, with what is served on `context/1` spoiled. What is fetched over it is as it was. */
export function withFaults(network: Network, options: FaultyNetworkOptions): Network {
  return {
    self: network.self,
    open: (peer, protocol, open) => network.open(peer, protocol, open),
    handle: async (protocol: ProtocolName, handler: StreamHandler) =>
      protocol === CONTEXT_PROTOCOL
        ? await network.handle(protocol, (stream, signal) => handler(spoil(stream, options), signal))
        : await network.handle(protocol, handler),
  }
}

const SPOILED = new Set<PropertyKey>(['send', 'sendBytes'])

/** A stream that is `stream` in all but what it sends. */
function spoil(stream: MessageStream, options: FaultyNetworkOptions): MessageStream {
  const spoiler = new Spoiler(stream, options)
  return new Proxy(stream, {
    get(target, name) {
      const owner: object = SPOILED.has(name) ? spoiler : target
      const value: unknown = Reflect.get(owner, name, owner)
      return typeof value === 'function' ? (value.bind(owner) as unknown) : value
    },
  })
}

class Spoiler {
  readonly #stream: MessageStream
  readonly #options: FaultyNetworkOptions
  /** Only the bytes of chunks are spoiled: a manifest is right. */
  #isChunkNext = false

  constructor(stream: MessageStream, options: FaultyNetworkOptions) {
    this.#stream = stream
    this.#options = options
  }

  async send(
    message: { type: string; chunks?: number; bitfield?: Uint8Array },
    wait: WaitOptions,
  ): Promise<void> {
    this.#isChunkNext = message.type === 'data'
    const { fault, random } = this.#options
    if (message.type !== 'holding' || fault?.kind !== 'lie') return await this.#stream.send(message, wait)
    const said = new Bitfield(message.chunks ?? 0, message.bitfield)
    for (let chunk = 0; chunk < said.size; chunk += 1) if (random.next() < fault.share) said.add(chunk)
    await this.#stream.send({ ...message, bitfield: said.toBytes() }, wait)
  }

  async sendBytes(bytes: Uint8Array, wait: WaitOptions): Promise<void> {
    const { fault, random, onSent } = this.#options
    if (!this.#isChunkNext) return await this.#stream.sendBytes(bytes, wait)
    if (fault !== undefined && fault.kind !== 'lie' && random.next() < fault.share) {
      return await this.#spoilChunk(fault.kind, bytes, wait)
    }
    await this.#stream.sendBytes(bytes, wait)
    onSent?.(bytes.byteLength)
  }

  async #spoilChunk(kind: FaultKind, bytes: Uint8Array, wait: WaitOptions): Promise<void> {
    const half = bytes.subarray(0, bytes.byteLength >> 1)
    if (kind === 'corrupt') {
      const spoiled = bytes.slice()
      spoiled[0] = (spoiled[0] ?? 0) ^ 1
      return await this.#stream.sendBytes(spoiled, wait)
    }
    await this.#stream.sendBytes(half, wait)
    if (kind === 'truncate') return await this.#stream.close(wait)
    if (kind === 'reset') return this.#stream.abort(new Error('reset by a fault'))
    // Stalled: the rest never comes, and the stream stays open.
    await new Promise<void>((resolve) => this.#stream.onClose(() => resolve()))
  }
}
