import type { PrivateKey } from '@libp2p/interface'
import { every, sleep } from '../../base/clock.ts'
import type { Cancel, Clock } from '../../base/clock.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import {
  ADDRESS_BYTES_MAX,
  ADVERT_TTL_MS_MAX,
  INTRODUCED_PEERS_MAX,
  PEER_ADDRESSES_MAX,
} from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { MessageStream } from '../../base/stream/message-stream.ts'
import type { Network } from '../../base/stream/network.ts'
import { AdvertBoard } from './advert-board.ts'
import { ADVERT_PROTOCOL, AdvertAnswerSchema, AdvertQuestionSchema } from './advert-messages.ts'
import type { AdvertAnswer, AdvertQuestion } from './advert-messages.ts'
import { AdvertSigner } from './advert-signer.ts'
import { verifyAdvert } from './advert.ts'
import type { Advert, AdvertBody, SignedAdvert } from './advert.ts'
import type { Members, PeerAddresses } from '../members.ts'
import { ADVERT_TIMINGS } from '../timings.ts'

export interface AdvertExchangeComponents {
  network: Network
  members: Members
  clock: Clock
  log: Logger
  /** The peer's own key. */
  key: PrivateKey
  /** The current facts of this peer. Called for every advert that is signed, so it must be quick. */
  describe(): AdvertBody
}

export interface AdvertExchangeOptions {
  /** How long our advert is valid after it came, ms. */
  ttlMs: number
  /** How often members get our advert though nothing has changed, ms; well within `ttlMs`. */
  refreshEveryMs: number
  /** Changes that come within this time are told together, ms. */
  changeDelayMs: number
  /** One question and its answer may take this long, ms. */
  answerDeadlineMs: number
  /** Waits before each attempt to swap adverts with a new member, ms: it may still be starting. */
  greetAfterMs: readonly number[]
  /** Members told at the same time. */
  pushesAtOnce: number
}

export const ADVERT_EXCHANGE_OPTIONS: Readonly<AdvertExchangeOptions> = Object.freeze({
  ttlMs: ADVERT_TTL_MS_MAX,
  ...ADVERT_TIMINGS,
})

/**
 * Tells connected members what this peer has and does, and keeps on a board what they say:
 * docs/protocol/advert.md. An advert is only taken from the very peer that signed it.
 */
export class AdvertExchange {
  readonly board: AdvertBoard
  readonly #components: AdvertExchangeComponents
  readonly #options: AdvertExchangeOptions
  readonly #signer: AdvertSigner
  readonly #greeting = new Set<string>()
  #cancels: Cancel[] = []
  #cancelPush: Cancel | undefined
  /** The advert that members received last. */
  #told = ''
  #stopHandling: () => Promise<void> = async () => {}
  #stopped = new AbortController()

  constructor(
    components: AdvertExchangeComponents,
    options: AdvertExchangeOptions = ADVERT_EXCHANGE_OPTIONS,
  ) {
    this.#components = components
    this.#options = options
    this.#signer = new AdvertSigner(components, {
      ttlMs: options.ttlMs,
      // A copy prolongs nothing, so each refresh must be newer than the last.
      reuseMs: options.refreshEveryMs / 4,
    })
    this.board = new AdvertBoard({ clock: components.clock, fetch: (peer) => this.#fetch(peer) })
  }

  async start(): Promise<void> {
    const { network, members, clock } = this.#components
    this.#stopped = new AbortController()
    this.#stopHandling = await network.handle(ADVERT_PROTOCOL, (stream) => this.#serve(stream))
    this.board.start()
    this.#cancels = [
      members.onJoin((peer) => this.#greet(peer)),
      every(clock, this.#options.refreshEveryMs, () => this.#pushAll()),
    ]
    for (const peer of members.list()) this.#greet(peer)
  }

  async stop(): Promise<void> {
    this.#stopped.abort(new HearthError('stream-closed', 'the peer is stopping'))
    this.#cancelPush?.()
    this.#cancelPush = undefined
    for (const cancel of this.#cancels) cancel()
    this.board.stop()
    await this.#stopHandling()
  }

  /** To be called when what `describe` answers may have changed: members are told at once if it has. */
  changed(): void {
    this.#signer.changed()
    this.#cancelPush ??= this.#components.clock.schedule(
      this.#options.changeDelayMs,
      () => {
        this.#cancelPush = undefined
        void this.#pushNews()
      },
      { background: true },
    )
  }

  /** The members that `peer` is connected to, and where they can be dialled. Throws what `Network.open` throws. */
  async peersOf(peer: string, signal?: AbortSignal): Promise<PeerAddresses[]> {
    const answer = await this.#ask(peer, { kind: 'peers' }, signal)
    if (answer.kind === 'peers') return answer.peers
    throw unexpected(peer, answer)
  }

  async #fetch(peer: string): Promise<Advert> {
    const answer = await this.#ask(peer, { kind: 'get' })
    if (answer.kind === 'advert') return await this.#verify(answer.advert, peer)
    throw unexpected(peer, answer)
  }

  async #put(peer: string): Promise<void> {
    const answer = await this.#ask(peer, { kind: 'put', advert: await this.#signer.sign() })
    if (answer.kind !== 'taken') this.#onRefusal(peer, answer)
  }

  async #swap(peer: string): Promise<void> {
    const answer = await this.#ask(peer, { kind: 'swap', advert: await this.#signer.sign() })
    if (answer.kind !== 'advert') this.#onRefusal(peer, answer)
    else this.board.take(await this.#verify(answer.advert, peer))
  }

  #onRefusal(peer: string, answer: AdvertAnswer): void {
    if (answer.kind !== 'refused') throw unexpected(peer, answer)
    this.#components.log.warn({ peer, reason: answer.reason }, 'a member refused our advert')
  }

  async #ask(
    peer: string,
    question: AdvertQuestion,
    signal: AbortSignal = this.#stopped.signal,
  ): Promise<AdvertAnswer> {
    const wait = { deadlineMs: this.#options.answerDeadlineMs, signal }
    const stream = await this.#components.network.open(peer, ADVERT_PROTOCOL, { lane: 'control', ...wait })
    try {
      await stream.send(question, wait)
      const answer = await stream.receive(AdvertAnswerSchema, wait)
      if (answer !== undefined) {
        await stream.close(wait)
        return answer
      }
      throw new HearthError('stream-closed', `peer ${peer} ended the stream without an answer`)
    } catch (error) {
      stream.abort(error as Error)
      throw error
    }
  }

  async #serve(stream: MessageStream): Promise<void> {
    const wait = { deadlineMs: this.#options.answerDeadlineMs, signal: this.#stopped.signal }
    const question = await stream.receive(AdvertQuestionSchema, wait)
    if (question !== undefined) await stream.send(await this.#answer(stream.peer, question), wait)
  }

  async #answer(peer: string, question: AdvertQuestion): Promise<AdvertAnswer> {
    if (question.kind === 'peers') return { kind: 'peers', peers: await this.#introductions(peer) }
    if (question.kind !== 'get') {
      const taken = await this.#take(peer, question.advert)
      if (question.kind === 'put' || taken.kind === 'refused') return taken
    }
    return { kind: 'advert', advert: await this.#signer.sign() }
  }

  async #take(peer: string, signed: SignedAdvert): Promise<AdvertAnswer> {
    try {
      const taken = this.board.take(await this.#verify(signed, peer))
      return taken === 'older' ? { kind: 'refused', reason: 'older than the one known' } : { kind: 'taken' }
    } catch (error) {
      const reason = messageOf(error).slice(0, 256)
      this.#components.log.warn({ peer, reason }, 'advert refused')
      return { kind: 'refused', reason }
    }
  }

  async #verify(signed: SignedAdvert, peer: string): Promise<Advert> {
    return await verifyAdvert(signed, peer, this.#components.clock.wallMs())
  }

  /** Members with a valid advert that can be dialled: nobody is introduced on hearsay. */
  async #introductions(asker: string): Promise<PeerAddresses[]> {
    const { members } = this.#components
    const introduced: PeerAddresses[] = []
    for (const peer of members.list()) {
      if (peer === asker || this.board.peek(peer) === undefined) continue
      const addresses = (await members.addressesOf(peer))
        .filter((address) => address.length <= ADDRESS_BYTES_MAX)
        .slice(0, PEER_ADDRESSES_MAX)
      if (addresses.length > 0) introduced.push({ peer, addresses })
      if (introduced.length === INTRODUCED_PEERS_MAX) break
    }
    return introduced
  }

  /**
   * Swaps adverts with a new member. The side with the smaller id begins; the other side begins only
   * after a silence.
   */
  #greet(peer: string): void {
    if (this.#greeting.has(peer)) return
    this.#greeting.add(peer)
    void this.#greetUntilKnown(peer).finally(() => this.#greeting.delete(peer))
  }

  async #greetUntilKnown(peer: string): Promise<void> {
    const { clock, members, log } = this.#components
    const [firstMs = 0, ...retryMs] = this.#options.greetAfterMs
    const knownBefore = this.board.peek(peer)
    for (const waitMs of members.self < peer ? [0, firstMs, ...retryMs] : [firstMs, ...retryMs]) {
      if (waitMs > 0) await sleep(clock, waitMs, this.#stopped.signal).catch(() => {})
      if (this.#stopped.signal.aborted || !members.list().includes(peer)) return
      if (this.board.peek(peer) !== knownBefore) return
      try {
        await this.#swap(peer)
        return
      } catch (error) {
        log.debug({ peer, error: messageOf(error) }, 'greeting failed')
      }
    }
  }

  /** Tells members what they were not told before: each push is a stream to each of them. */
  async #pushNews(): Promise<void> {
    try {
      await this.#signer.sign()
      if (this.#signer.said !== this.#told) this.#pushAll()
    } catch (error) {
      this.#components.log.warn({ error: messageOf(error) }, 'our advert could not be signed')
    }
  }

  #pushAll(): void {
    this.#told = this.#signer.said
    const waiting = this.#components.members.list()
    const next = async (): Promise<void> => {
      for (let peer = waiting.pop(); peer !== undefined; peer = waiting.pop()) {
        if (this.#stopped.signal.aborted) return
        await this.#put(peer).catch((error: unknown) => {
          this.#components.log.debug({ peer, error: messageOf(error) }, 'advert not delivered')
        })
      }
    }
    for (let worker = 0; worker < this.#options.pushesAtOnce; worker += 1) void next()
  }
}

function unexpected(peer: string, answer: AdvertAnswer): HearthError {
  return new HearthError('message-invalid', `peer ${peer} answered with "${answer.kind}"`, { data: { peer } })
}
