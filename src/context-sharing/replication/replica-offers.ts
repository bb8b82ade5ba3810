import { type Cancel, type Clock, every } from '../../base/clock.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import { REPLICA_OFFERS_PER_MINUTE_MAX } from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { MessageStream } from '../../base/stream/message-stream.ts'
import type { Network } from '../../base/stream/network.ts'
import {
  REPLICA_PROTOCOL,
  type ReplicaAnswer,
  type ReplicaOffer,
  replicaAnswerSchema,
  replicaOfferSchema,
} from './replica-messages.ts'
import { OFFER_ANSWER_MS_MAX } from './timings.ts'

export interface ReplicaOffersComponents {
  network: Network
  clock: Clock
  log: Logger
}

const MINUTE_MS = 60_000

/** Offers of spare copies, both ways: docs/protocol/replica.md. */
export class ReplicaOffers {
  readonly #components: ReplicaOffersComponents
  readonly #onOffer: (peer: string, offer: ReplicaOffer) => Promise<ReplicaAnswer>
  /** Offers of each peer in this minute. */
  readonly #counts = new Map<string, number>()
  #stopped = new AbortController()
  #unhandle: () => Promise<void> = async () => {}
  #cancelReset: Cancel = () => {}

  constructor(
    components: ReplicaOffersComponents,
    onOffer: (peer: string, offer: ReplicaOffer) => Promise<ReplicaAnswer>,
  ) {
    this.#components = components
    this.#onOffer = onOffer
  }

  async start(): Promise<void> {
    this.#stopped = new AbortController()
    this.#cancelReset = every(this.#components.clock, MINUTE_MS, () => this.#counts.clear())
    this.#unhandle = await this.#components.network.handle(REPLICA_PROTOCOL, (stream) => this.#serve(stream))
  }

  async stop(): Promise<void> {
    this.#stopped.abort(new HearthError('stream-closed', 'this peer is stopping'))
    this.#cancelReset()
    await this.#unhandle()
  }

  /** Offers a copy to a peer; undefined when it does not answer. Never throws. */
  async make(peer: string, offer: ReplicaOffer): Promise<ReplicaAnswer | undefined> {
    const wait = { deadlineMs: OFFER_ANSWER_MS_MAX, signal: this.#stopped.signal }
    try {
      const stream = await this.#components.network.open(peer, REPLICA_PROTOCOL, { lane: 'control', ...wait })
      await stream.send(offer, wait)
      const answer = await stream.receive(replicaAnswerSchema, wait)
      if (!stream.isClosed) await stream.close(wait)
      return answer
    } catch (error) {
      this.#components.log.debug({ peer, error: messageOf(error) }, 'no answer to an offer of a copy')
      return undefined
    }
  }

  async #serve(stream: MessageStream): Promise<void> {
    const wait = { deadlineMs: OFFER_ANSWER_MS_MAX, signal: this.#stopped.signal }
    const offer = await stream.receive(replicaOfferSchema, wait)
    if (offer === undefined) return
    const count = (this.#counts.get(stream.peer) ?? 0) + 1
    this.#counts.set(stream.peer, count)
    const isTooMany = count > REPLICA_OFFERS_PER_MINUTE_MAX
    const tooMany: ReplicaAnswer = { type: 'declined', code: 'too-many' }
    await stream.send(isTooMany ? tooMany : await this.#onOffer(stream.peer, offer), wait)
    await stream.close(wait)
  }
}
