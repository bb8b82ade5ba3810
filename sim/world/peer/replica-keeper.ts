import { CHUNK_BYTES } from '../../../src/base/limits.ts'
import type { Random } from '../../../src/base/random.ts'
import {
  mayDrop,
  newReplication,
  nextTickMs,
  onlyHere,
  step,
  takesNow,
  type DropAnswer,
  type Replication,
  type ReplicationEffect,
  type ReplicationEvent,
  type ReplicationOptions,
} from '../../../src/context-sharing/replication/core/replication.ts'
import type { PullReason } from '../../../src/context-sharing/replication/core/replication-state.ts'
import {
  LOOK_HERE_EVERY_MS,
  OFFER_ANSWER_MS_MAX,
  REPLICATION_TICK_MS,
  SPARE_QUOTA_SHARE_MAX,
} from '../../../src/context-sharing/replication/timings.ts'
import type { SaidPeer } from '../../../src/context-sharing/replication/replica-view.ts'
import { wordOf } from '../../kernel/mix.ts'
import type { Adverts, Advertiser } from '../overlay/adverts.ts'
import type { Host } from '../swarm/host.ts'
import type { Larder } from './larder.ts'
import { AUDIT_US } from '../../scenarios/outside.ts'
import { OwnHoldings } from './own-holdings.ts'
import type { Timer, Timers } from '../events/timers.ts'
import type { KeeperView, Swarm } from '../swarm/swarm.ts'

/** The peer whose copies are kept. */
export interface KeptPeer {
  readonly number: number
  readonly id: string
  readonly host: Host
  readonly larder: Larder
  readonly device: { readonly isLiar: boolean }
  readonly state: 'down' | 'up' | 'frozen'
  isWarm(context: number): boolean
  /** It leaves, and others have all that it holds, as far as it goes. */
  onHandedOver(): void
}

/** Copies of contexts on one peer: turns the effects of core/replication into fetches, as replicator.ts does. */
export class ReplicaKeeper implements KeeperView {
  readonly number: number
  readonly id: string
  readonly position: number
  readonly #world: Swarm
  readonly #adverts: Adverts
  readonly #peer: KeptPeer
  readonly #timers: Timers
  readonly #options: Partial<ReplicationOptions>
  #state: Replication
  #random: Random
  #sessions = 0
  readonly #own: OwnHoldings
  #tick: Timer | undefined
  #tickMs = Number.POSITIVE_INFINITY
  #isLooking = false
  copiesMade = 0

  constructor(world: Swarm, adverts: Adverts, peer: KeptPeer, timers: Timers) {
    this.number = peer.number
    this.id = peer.id
    this.position = positionOf(peer.id)
    this.#world = world
    this.#adverts = adverts
    this.#peer = peer
    this.#timers = timers
    const { replicas, replication } = world.scenario
    this.#own = new OwnHoldings(world, peer)
    this.#options = {
      isTaking: replicas > 0 && !peer.device.isLiar,
      copiesWanted: Math.max(1, replicas),
      ...replication,
    }
    this.#random = world.streams.of(this.id, 'replication')
    this.#state = this.#newState()
  }

  get isThere(): boolean {
    return this.#peer.state === 'up'
  }

  /** It came up. */
  start(): void {
    this.#random = this.#world.streams.of(this.id, 'replication', this.#sessions++)
    this.#state = this.#newState()
    this.#own.clear()
    this.#isLooking = false
    this.#forgetTick()
    this.measureRoom()
    for (const context of this.#peer.host.shelves.keys()) this.changed(context)
    this.#adverts.join(this)
    // From then on it says that it takes any copy.
    this.#timers.after(this.#state.options.joinAfterMs * 1000, () => this.#adverts.tell(this))
  }

  stop(isSilent: boolean): void {
    this.#forgetTick()
    this.#adverts.leave(this, isSilent)
  }

  /** It is there again, after it did not answer since `sinceMs`: all that it had heard is old. */
  resume(sinceMs: number): void {
    for (const peer of this.#state.peers.keys()) this.miss(peer, sinceMs)
    this.#adverts.join(this)
  }

  said(): SaidPeer {
    const takes = takesNow(this.#state, this.#world.kernel.nowMs)
    const { isDraining } = this.#state
    const contexts = this.#peer.device.isLiar ? this.#own.lies() : this.#own.said()
    return { peer: this.id, takes, isDraining, contexts }
  }

  hear(said: SaidPeer): void {
    this.#dispatch({ kind: 'peer', ...said })
  }

  miss(peer: string, heardMs: number): void {
    if (this.isThere) this.#dispatch({ kind: 'peer-lost', peer, heardMs })
  }

  silent(peer: string, heardMs: number): boolean {
    if (!this.isThere) return false
    return this.#dispatch({ kind: 'peer-silent', peer, heardMs }).some(({ kind }) => kind === 'ask')
  }

  /** The local part of a context may have changed. */
  changed(context: number): void {
    const change = this.#own.look(context)
    if (change === undefined) return
    const { holding, isToTell } = change
    const contextId = this.#world.contextId(context)
    this.#dispatch({ kind: 'own', contextId, bytes: this.#world.contextBytes, holding })
    if (isToTell) this.#adverts.tell(this)
    if (holding.isFetching) this.#lookLater()
  }

  sessionOpened(session: string, contextId: string): void {
    const context = this.#world.contextNumbered(contextId)
    this.#own.busy.set(session, context)
    this.changed(context)
  }

  sessionEnded(session: string): void {
    const context = this.#own.busy.get(session)
    if (context === undefined) return
    this.#own.busy.delete(session)
    this.changed(context)
  }

  /** How much of the disk spare copies may still take. */
  measureRoom(): void {
    const { quotaBytes, usedBytes } = this.#peer.larder.disk
    this.#dispatch({ kind: 'room', bytes: SPARE_QUOTA_SHARE_MAX * quotaBytes - usedBytes })
  }

  mayDrop(context: number): DropAnswer {
    return mayDrop(this.#state, this.#world.contextId(context), this.#world.kernel.nowMs)
  }

  /** It is to leave: it hands over what nobody else has. */
  drain(): void {
    this.#dispatch({ kind: 'drain' })
    this.#adverts.tell(this)
    this.#noteCovered()
  }

  /** Another asks it to take a copy. */
  offered(offer: Extract<ReplicationEvent, { kind: 'offered' }>, from: Advertiser): ReplicationEffect[] {
    if (this.#state.contexts.get(offer.contextId)?.holders.has(from.id) !== true) this.hear(from.said())
    return this.#dispatch(offer)
  }

  #newState(): Replication {
    const { kernel } = this.#world
    return newReplication({ self: this.id, positionOf, nowMs: kernel.nowMs, options: this.#options })
  }

  #dispatch(event: ReplicationEvent): ReplicationEffect[] {
    const { nowMs } = this.#world.kernel
    const before = takesNow(this.#state, nowMs)
    const effects = step(this.#state, event, nowMs, this.#random)
    for (const effect of effects) this.#perform(effect)
    if (takesNow(this.#state, nowMs) !== before) this.#adverts.tell(this)
    this.#tickLater()
    return effects
  }

  #perform(effect: ReplicationEffect): void {
    switch (effect.kind) {
      case 'look':
        return this.#look(effect.contextId)
      case 'pull':
        return this.#pull(effect.contextId, effect.why)
      case 'cancel':
        return this.#peer.larder.cancelPull(this.#world.contextNumbered(effect.contextId))
      case 'offer':
        return this.#offer(effect)
      case 'audit':
        return this.#audit(effect.contextId, effect.peer)
      case 'drained':
        return this.#peer.onHandedOver()
      case 'ask':
      case 'accept':
      case 'decline':
      case 'decision':
    }
  }

  #look(contextId: string): void {
    const context = this.#world.contextNumbered(contextId)
    const looked = this.#ifStill(() => this.#dispatch({ kind: 'looked', contextId }))
    this.#world.directory.holders(context, this.number, (holders) =>
      this.#adverts.look(this, positionOf(contextId), holders, looked),
    )
  }

  #pull(contextId: string, why: PullReason): void {
    const context = this.#world.contextNumbered(contextId)
    // As spare-pulls.ts: a model that might otherwise be lost is more than a spare copy.
    const uploadClass = why === 'urgent' || why === 'drain' ? 'normal' : 'background'
    this.#peer.larder.pull(context, uploadClass, (outcome, hasGrown) => {
      if (outcome === 'stored') this.copiesMade += 1
      this.#dispatch({ kind: 'pulled', contextId, outcome, hasGrown })
      this.changed(context)
    })
    this.changed(context)
  }

  #offer({ contextId, peer, why, copies }: Extract<ReplicationEffect, { kind: 'offer' }>): void {
    const { contextBytes: bytes } = this.#world
    const other = this.#world.keeperOf(peer)
    const latencyUs = this.#latencyUs(peer)
    const answer = (isAccepted: boolean, isHeld: boolean): void =>
      void this.#dispatch({ kind: 'offer-answered', peer, contextId, isAccepted, isHeld })
    this.#timers.after(latencyUs, () => {
      if (other?.isThere !== true || !this.#world.reaches(this.number, other.number)) {
        this.#timers.after(1000 * OFFER_ANSWER_MS_MAX, () => answer(false, false))
        return
      }
      const offer = { kind: 'offered' as const, peer: this.id, contextId, bytes, why, copies }
      const declined = other.offered(offer, this).find((effect) => effect.kind === 'decline')
      if (declined === undefined && why === 'drain') this.#peer.host.uploads.handOverTo(peer)
      this.#timers.after(latencyUs, () => answer(declined === undefined, declined?.code === 'held'))
    })
  }

  /** A chunk of it is fetched from the other, and found right or wrong. */
  #audit(contextId: string, peer: string): void {
    const other = this.#world.peerNamed(peer)
    const context = this.#world.contextNumbered(contextId)
    this.#timers.after(AUDIT_US, () => {
      const isAsked = other.state === 'up' && this.#world.reaches(this.number, other.number)
      const isHeld = isAsked && other.host.shelf(context)?.isWhole === true
      if (isHeld) this.#peer.larder.countAudit(other.host, CHUNK_BYTES)
      const outcome = isHeld ? 'held' : isAsked ? 'lied' : 'unknown'
      this.#dispatch({ kind: 'audited', peer, contextId, outcome })
    })
  }

  /** While it drains: what the peers that fetch here have of a context together. */
  #noteCovered(): void {
    for (const contextId of onlyHere(this.#state, this.#world.kernel.nowMs)) {
      if (this.#peer.host.isElsewhere(this.#world.contextNumbered(contextId)))
        this.#dispatch({ kind: 'covered', contextId })
    }
    this.#timers.after(1000 * REPLICATION_TICK_MS, () => this.#noteCovered())
  }

  /** A context that is being fetched has grown. */
  #lookLater(): void {
    if (this.#isLooking) return
    this.#isLooking = true
    this.#timers.after(1000 * LOOK_HERE_EVERY_MS, () => {
      this.#isLooking = false
      for (const context of this.#own.fetching()) this.changed(context)
      if (this.#own.fetching().length > 0) this.#lookLater()
    })
  }

  #tickLater(): void {
    const atMs = nextTickMs(this.#state) ?? Number.POSITIVE_INFINITY
    if (atMs === this.#tickMs) return
    this.#forgetTick()
    if (atMs === Number.POSITIVE_INFINITY || !this.isThere) return
    this.#tickMs = atMs
    const delayUs = Math.max(1, atMs * 1000 - this.#world.kernel.nowUs)
    this.#tick = this.#timers.after(delayUs, () => {
      this.#tickMs = Number.POSITIVE_INFINITY
      this.#tick = undefined
      this.#dispatch({ kind: 'tick' })
    })
  }

  #forgetTick(): void {
    if (this.#tick !== undefined) this.#timers.cancel(this.#tick)
    this.#tick = undefined
    this.#tickMs = Number.POSITIVE_INFINITY
  }

  /** An answer that comes when the peer was down meanwhile is nobody's. */
  #ifStill(run: () => void): () => void {
    const state = this.#state
    return () => {
      if (this.#state === state && this.isThere) run()
    }
  }

  #latencyUs(peer: string): number {
    return this.#peer.host.latencyUs + this.#world.hostNamed(peer).latencyUs
  }
}

function positionOf(id: string): number {
  return wordOf(id) >>> 0
}
