import type { Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import { ORIGINS_WANTED_MAX } from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { MessageStream } from '../../base/stream/message-stream.ts'
import type { Network } from '../../base/stream/network.ts'
import type { ContextStore } from '../store/context-store.ts'
import type { Manifest } from '../content/manifest.ts'
import { type OriginRace, type OriginVerdict, decideOrigin, newOriginRace } from './core/origin.ts'
import { originIdOfManifest } from '../content/origin-id.ts'
import {
  ORIGIN_PROTOCOL,
  type OriginAnswer,
  type OriginPhase,
  originAnswerSchema,
  originQuestionSchema,
} from '../wire/origin-messages.ts'

/** Finds peers that have a model or will have it soon. */
export interface OriginSwarm {
  /** Peers to ask. */
  peersToAsk(originId: string, signal: AbortSignal): Promise<string[]>
  /** Says in the DHT, from now until `withdraw`, that this peer downloads the model. */
  announce(originId: string): void
  withdraw(originId: string): void
}

export interface OriginsComponents {
  network: Network
  store: ContextStore
  swarm: OriginSwarm
  /** The manifest of a context, from any peer that has it. */
  manifestOf: (contextId: string, signal: AbortSignal) => Promise<Manifest>
  clock: Clock
  log: Logger
}

/** One question and its answer, dialling included, ms. */
const ANSWER_DEADLINE_MS = 2_000
/** A peer repeats once a second that it wants a model; after this silence its wish expires, ms. */
const FORGOTTEN_AFTER_MS = 10_000

interface Wanted {
  phase: OriginPhase
  heardMs: number
  race: OriginRace
  isAnnounced: boolean
}

/**
 * One download of a model for the whole swarm: tells others what this peer wants from an origin and how
 * far it is, and whoever wants it here whether to download it or to wait. It downloads nothing itself, and
 * does nothing unasked: docs/protocol/origin.md.
 */
export class Origins {
  readonly #components: OriginsComponents
  readonly #wanted = new Map<string, Wanted>()
  #stopped = new AbortController()
  #unhandle: () => Promise<void> = async () => {}

  constructor(components: OriginsComponents) {
    this.#components = components
  }

  async start(): Promise<void> {
    this.#stopped = new AbortController()
    this.#unhandle = await this.#components.network.handle(ORIGIN_PROTOCOL, (stream) => this.#serve(stream))
  }

  async stop(): Promise<void> {
    this.#stopped.abort(new HearthError('stream-closed', 'this peer is stopping'))
    for (const originId of this.#wanted.keys()) this.release(originId)
    await this.#unhandle()
  }

  /**
   * Decides how to get a model, from the current answers of the swarm's peers. Callers ask again every second with
   * what has come of it. `refused` are contexts that turned out to be something else.
   * Throws `limit-reached` when too many models are wanted at once.
   */
  async want(originId: string, phase: OriginPhase, refused: readonly string[]): Promise<OriginVerdict> {
    const { network, clock } = this.#components
    const wanted = this.#note(originId, phase)
    const here = this.#storedHere(originId, refused)
    const answers = new Map(here === undefined ? await this.#askAll(originId) : [[network.self, here]])
    const forget = (contextIds: readonly string[]): void => {
      for (const [peer, answer] of answers) {
        if (answer.type === 'stored' && contextIds.includes(answer.contextId)) answers.delete(peer)
      }
    }
    forget(refused)
    let verdict = decideOrigin(wanted.race, { own: phase, answers }, clock.nowMs())
    while (verdict.kind === 'stored' && !(await this.#isIt(originId, verdict))) {
      forget([verdict.contextId])
      verdict = decideOrigin(wanted.race, { own: phase, answers }, clock.nowMs())
    }
    if (verdict.kind === 'download' && phase.type === 'waiting')
      wanted.phase = { type: 'downloading', bytes: 0 }
    this.#announce(originId, wanted)
    return verdict
  }

  /** Forgets a model that is no longer wanted, or is already here. */
  release(originId: string): void {
    if (this.#wanted.delete(originId)) this.#components.swarm.withdraw(originId)
  }

  #note(originId: string, phase: OriginPhase): Wanted {
    this.#forgetOld()
    const { clock, network } = this.#components
    const before = this.#wanted.get(originId)
    if (before === undefined && this.#wanted.size >= ORIGINS_WANTED_MAX) {
      throw new HearthError(
        'limit-reached',
        `${ORIGINS_WANTED_MAX} models are already downloading on this peer, which is the limit: try again when one of them is done`,
      )
    }
    const wanted = before ?? {
      phase,
      heardMs: 0,
      race: newOriginRace(network.self, originId),
      isAnnounced: false,
    }
    Object.assign(wanted, { phase, heardMs: clock.nowMs() })
    this.#wanted.set(originId, wanted)
    return wanted
  }

  #forgetOld(): void {
    const nowMs = this.#components.clock.nowMs()
    for (const [originId, { heardMs }] of this.#wanted) {
      if (nowMs - heardMs > FORGOTTEN_AFTER_MS) this.release(originId)
    }
  }

  #announce(originId: string, wanted: Wanted): void {
    const { swarm } = this.#components
    const isDownloading = wanted.phase.type !== 'waiting'
    if (isDownloading === wanted.isAnnounced) return
    wanted.isAnnounced = isDownloading
    if (isDownloading) swarm.announce(originId)
    else swarm.withdraw(originId)
  }

  #storedHere(originId: string, refused: readonly string[] = []): OriginAnswer | undefined {
    const { store } = this.#components
    for (const { contextId, tier } of store.list()) {
      const manifest = store.held(contextId)?.manifest
      if (tier.kind !== 'stored' || manifest === undefined || refused.includes(contextId)) continue
      if (originIdOfManifest(manifest) === originId) return { type: 'stored', contextId }
    }
    return undefined
  }

  async #askAll(originId: string): Promise<[string, OriginAnswer][]> {
    const { swarm, network } = this.#components
    const peers = await swarm.peersToAsk(originId, this.#stopped.signal)
    const others = [...new Set(peers)].filter((peer) => peer !== network.self)
    const answers = await Promise.all(
      others.map(async (peer) => [peer, await this.#ask(peer, originId)] as const),
    )
    return answers.flatMap(([peer, answer]) => (answer === undefined ? [] : [[peer, answer]]))
  }

  /** Undefined when the peer does not answer. */
  async #ask(peer: string, originId: string): Promise<OriginAnswer | undefined> {
    const { network, clock, log } = this.#components
    const limits = { clock, ms: ANSWER_DEADLINE_MS, whose: `peer ${peer}`, signal: this.#stopped.signal }
    try {
      return await withDeadline(limits, async (signal) => {
        const wait = { deadlineMs: ANSWER_DEADLINE_MS, signal }
        const stream = await network.open(peer, ORIGIN_PROTOCOL, { lane: 'control', ...wait })
        try {
          await stream.send({ type: 'ask', originId }, wait)
          const answer = await stream.receive(originAnswerSchema, wait)
          if (!stream.isClosed) await stream.close(wait)
          return answer
        } catch (error) {
          stream.abort(error as Error)
          throw error
        }
      })
    } catch (error) {
      log.debug({ peer, error: messageOf(error) }, 'no answer to a question about a model')
      return undefined
    }
  }

  /** Whether a context is the model, by its manifest: the word of a peer is not enough. */
  async #isIt(originId: string, { contextId, peer }: { contextId: string; peer: string }): Promise<boolean> {
    const { manifestOf, store, log } = this.#components
    if (store.held(contextId)?.isStored === true) return true
    try {
      if (originIdOfManifest(await manifestOf(contextId, this.#stopped.signal)) === originId) return true
      log.warn({ contextId, peer }, 'a peer named a context that is not the model it was asked about')
    } catch (error) {
      log.info({ contextId, peer, error: messageOf(error) }, 'context not readable')
    }
    return false
  }

  async #serve(stream: MessageStream): Promise<void> {
    const wait = { deadlineMs: ANSWER_DEADLINE_MS, signal: this.#stopped.signal }
    const question = await stream.receive(originQuestionSchema, wait)
    if (question === undefined) return
    await stream.send(this.#answerTo(question.originId), wait)
    await stream.close(wait)
  }

  #answerTo(originId: string): OriginAnswer {
    this.#forgetOld()
    return this.#storedHere(originId) ?? this.#wanted.get(originId)?.phase ?? { type: 'none' }
  }
}
