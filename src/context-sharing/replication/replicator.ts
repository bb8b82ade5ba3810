import { type Clock, every } from '../../base/clock.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { Network } from '../../base/stream/network.ts'
import type { Random } from '../../base/random.ts'
import type { ContextSharing } from '../context-sharing.ts'
import type { ContextStore } from '../store/context-store.ts'
import type { DecisionSink } from '../history/decisions.ts'
import { auditReplica } from './replica-audit.ts'
import type { ReplicaAnswer, ReplicaOffer } from './replica-messages.ts'
import type { OwnContext, ReplicaSwarm } from './replica-view.ts'
import { ReplicaOffers } from './replica-offers.ts'
import {
  type DropAnswer,
  type Replication,
  type ReplicationEffect,
  type ReplicationEvent,
  type ReplicationOptions,
  mayDrop,
  newReplication,
  nextTickMs,
  onlyHere,
  step,
  takesNow,
} from './core/replication.ts'
import { type ReplicationStatus, replicationStatus } from './replication-status.ts'
import type { TakesReplicas } from './core/replication-state.ts'
import { SparePulls } from './spare-pulls.ts'
import { LOOK_HERE_EVERY_MS, REPLICATION_TICK_MS, ROOM_EVERY_MS, SPARE_QUOTA_SHARE_MAX } from './timings.ts'
import { decisionOf } from './replication-words.ts'

export interface ReplicatorComponents {
  network: Network
  store: ContextStore
  sharing: ContextSharing
  swarm: ReplicaSwarm
  decisions: DecisionSink
  clock: Clock
  random: Random
  log: Logger
  /** The contexts that are here now. */
  own(): OwnContext[]
  /** `takes` has changed and must be advertised. */
  onTakes: () => void
  /** A spare copy is complete. */
  onCopied: (contextId: string) => void
}

/** The result of a drain. */
export interface HandOver {
  /** Contexts that are on no other peer, as far as is known. */
  onlyHere: string[]
}

/** Keeps enough copies of contexts in the swarm: the shell of core/replication. */
export class Replicator {
  readonly #components: ReplicatorComponents
  readonly #options: Partial<ReplicationOptions>
  readonly #offers: ReplicaOffers
  #state: Replication
  readonly #own = new Map<string, string>()
  readonly #pulls: SparePulls
  #closers = new AsyncDisposableStack()
  #stopped = new AbortController()
  #drained: PromiseWithResolvers<void> | undefined

  constructor(components: ReplicatorComponents, options: Partial<ReplicationOptions> = {}) {
    this.#components = components
    this.#options = options
    this.#offers = new ReplicaOffers(components, (peer, offer) => this.#onOffer(peer, offer))
    this.#pulls = new SparePulls(components, (...pulled) => this.#onPulled(...pulled))
    this.#state = this.#newState()
  }

  async start(): Promise<void> {
    const { clock, swarm } = this.#components
    this.#stopped = new AbortController()
    this.#state = this.#newState()
    this.#own.clear()
    const closers = new AsyncDisposableStack()
    this.#closers = closers
    await this.#offers.start()
    closers.defer(() => this.#offers.stop())
    closers.defer(swarm.onPeer((said) => this.#dispatch({ kind: 'peer', ...said })))
    closers.defer(swarm.onLost((peer, heardMs) => this.#dispatch({ kind: 'peer-silent', peer, heardMs })))
    closers.defer(every(clock, REPLICATION_TICK_MS, () => this.#tick()))
    closers.defer(every(clock, LOOK_HERE_EVERY_MS, () => this.changed()))
    closers.defer(every(clock, ROOM_EVERY_MS, () => void this.#measureRoom()))
    await this.#measureRoom()
    this.changed()
  }

  async stop(): Promise<void> {
    this.#stopped.abort(new HearthError('stream-closed', 'this peer is stopping'))
    this.#pulls.cancelAll()
    await this.#closers.disposeAsync()
  }

  /** The spare copies that this peer accepts now, for its advert. */
  get takes(): TakesReplicas {
    return takesNow(this.#state, this.#components.clock.nowMs())
  }

  /** Call this when the stored contexts have changed. */
  changed(): void {
    const here = new Map(this.#components.own().map((context) => [context.contextId, context]))
    for (const { contextId, bytes, ...holding } of here.values()) {
      const said = JSON.stringify(holding)
      if (this.#own.get(contextId) === said) continue
      this.#own.set(contextId, said)
      this.#dispatch({ kind: 'own', contextId, bytes, holding })
    }
    for (const contextId of this.#own.keys()) {
      if (here.has(contextId)) continue
      this.#own.delete(contextId)
      const holding = { tier: 'absent' as const, share: 0, isFetching: false, isBusy: false }
      this.#dispatch({ kind: 'own', contextId, holding })
    }
  }

  /** Whether the copy here may be deleted to make room, and the number of other copies. */
  mayDrop(contextId: string): DropAnswer {
    return mayDrop(this.#state, contextId, this.#components.clock.nowMs())
  }

  /** Known copies of the contexts that are here or short of copies. */
  status(): ReplicationStatus {
    return replicationStatus(this.#state, this.#components.clock.nowMs())
  }

  /**
   * Copies contexts that only this peer has to others; resolves when none is left, or when the signal is
   * aborted. Afterwards this peer makes no copies until it is started again.
   */
  async drain(signal: AbortSignal): Promise<HandOver> {
    const drained = Promise.withResolvers<void>()
    const onAbort = (): void => drained.resolve()
    this.#drained = drained
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    this.#dispatch({ kind: 'drain' })
    await drained.promise
    signal.removeEventListener('abort', onAbort)
    return { onlyHere: this.onlyHere() }
  }

  /** Contexts that the swarm loses if this peer stops now, as far as it knows. */
  onlyHere(): string[] {
    return onlyHere(this.#state, this.#components.clock.nowMs())
  }

  #newState(): Replication {
    const { network, swarm, clock } = this.#components
    const positionOf = (id: string): number => swarm.positionOf(id)
    return newReplication({ self: network.self, positionOf, nowMs: clock.nowMs(), options: this.#options })
  }

  #tick(): void {
    if (this.#state.isDraining) this.#noteCovered()
    const nextMs = nextTickMs(this.#state)
    if (nextMs !== undefined && nextMs <= this.#components.clock.nowMs()) this.#dispatch({ kind: 'tick' })
  }

  /** Two peers with different halves of a context together have all of it. */
  #noteCovered(): void {
    for (const contextId of this.onlyHere()) {
      if (this.#components.sharing.isElsewhere(contextId)) this.#dispatch({ kind: 'covered', contextId })
    }
  }

  async #measureRoom(): Promise<void> {
    try {
      const { usedBytes, quotaBytes, freeBytes, keepFreeBytes } = await this.#components.store.room.usage()
      const bytes = Math.min(SPARE_QUOTA_SHARE_MAX * quotaBytes - usedBytes, freeBytes - keepFreeBytes)
      if (!this.#stopped.signal.aborted) this.#dispatch({ kind: 'room', bytes })
    } catch (error) {
      this.#components.log.warn({ error: messageOf(error) }, 'cannot measure the room for spare copies')
    }
  }

  #dispatch(event: ReplicationEvent): ReplicationEffect[] {
    const { clock, random, decisions, onTakes } = this.#components
    const before = this.takes
    const effects = step(this.#state, event, clock.nowMs(), random)
    for (const effect of effects) {
      const decision = decisionOf(effect)
      if (decision !== undefined) decisions.note(decision)
      this.#perform(effect)
    }
    if (this.takes !== before) onTakes()
    return effects
  }

  #perform(effect: ReplicationEffect): void {
    switch (effect.kind) {
      case 'look':
        return void this.#look(effect.contextId)
      case 'ask':
        return void this.#ask(effect.peer, effect.heardMs)
      case 'pull':
        return this.#pulls.begin(effect.contextId, effect.why)
      case 'cancel':
        return this.#pulls.cancel(effect.contextId)
      case 'offer':
        return void this.#offer(effect)
      case 'audit':
        return void this.#audit(effect.contextId, effect.peer)
      case 'drained':
        return this.#drained?.resolve()
      case 'accept':
      case 'decline':
      case 'decision':
    }
  }

  async #ask(peer: string, heardMs: number): Promise<void> {
    const { signal } = this.#stopped
    const isThere = await this.#components.swarm.isThere(peer, signal)
    if (!isThere && !signal.aborted) this.#dispatch({ kind: 'peer-lost', peer, heardMs })
  }

  async #look(contextId: string): Promise<void> {
    try {
      await this.#components.swarm.look(contextId, this.#stopped.signal)
    } catch (error) {
      this.#components.log.debug({ contextId, error: messageOf(error) }, 'search for copies failed')
    }
    this.#dispatch({ kind: 'looked', contextId })
  }

  #onPulled(contextId: string, outcome: 'stored' | 'failed' | 'cancelled', hasGrown: boolean): void {
    this.#dispatch({ kind: 'pulled', contextId, outcome, hasGrown })
    this.changed()
    if (outcome === 'stored') this.#components.onCopied(contextId)
  }

  async #offer({
    contextId,
    peer,
    why,
    copies,
  }: Extract<ReplicationEffect, { kind: 'offer' }>): Promise<void> {
    const bytes = this.#components.store.entry(contextId)?.bytes ?? 0
    const answer = await this.#offers.make(peer, { type: 'offer', contextId, bytes, copies, why })
    const isAccepted = answer?.type === 'accepted'
    const isHeld = answer?.type === 'declined' && answer.code === 'held'
    if (isAccepted && why === 'drain')
      this.#closers.defer(this.#components.sharing.handOffTo(peer, contextId))
    this.#dispatch({ kind: 'offer-answered', peer, contextId, isAccepted, isHeld })
  }

  /** Copies come only from adverts; a peer that has just connected is asked for its advert. */
  async #onOffer(peer: string, { contextId, bytes, why, copies }: ReplicaOffer): Promise<ReplicaAnswer> {
    const isClaimed = this.#state.contexts.get(contextId)?.holders.has(peer) === true
    if (!isClaimed) await this.#components.swarm.isThere(peer, this.#stopped.signal)
    const effects = this.#dispatch({ kind: 'offered', peer, contextId, bytes, why, copies })
    const declined = effects.find((effect) => effect.kind === 'decline')
    return declined === undefined ? { type: 'accepted' } : { type: 'declined', code: declined.code }
  }

  async #audit(contextId: string, peer: string): Promise<void> {
    const { store, decisions } = this.#components
    const context = store.held(contextId)
    if (context === undefined) return
    try {
      const outcome = await auditReplica(this.#components, peer, context, this.#stopped.signal)
      if (outcome === 'lied') {
        const words = 'it was asked for one random chunk'
        decisions.note({ contextId, by: 'replication', code: 'holder-doubted', peer, words })
      }
      this.#dispatch({ kind: 'audited', peer, contextId, outcome })
    } catch (error) {
      this.#components.log.debug({ contextId, peer, error: messageOf(error) }, 'audit interrupted')
    }
  }
}
