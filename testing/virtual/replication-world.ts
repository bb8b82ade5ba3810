// A swarm of replication cores on virtual time: adverts that arrive late, peers that come and go, and
// copies that take as long as the uplinks of those who send them.
import { createHash } from 'node:crypto'
import { type Random, randomBetween, seededRandom } from '../../src/base/random.ts'
import {
  type Replication,
  type ReplicationEffect,
  type ReplicationEvent,
  type ReplicationOptions,
  newReplication,
  nextTickMs,
  step,
  takesNow,
} from '../../src/context-sharing/replication/core/replication.ts'

export interface WorldOptions {
  peers: number
  seed: number
  bytes?: number
  bytesPerSecond?: number
  /** Adverts take up to this long, ms. */
  advertMs?: number
  /** A peer that vanished is noticed within this time, ms. */
  noticeMs?: number
  /** The grain of time, ms. */
  stepMs?: number
  core?: Partial<ReplicationOptions>
}

interface WorldPeer {
  name: string
  isUp: boolean
  state: Replication
  /** The share of each context on its disk. */
  disk: Map<string, number>
  fetching: Set<string>
  busy: Set<string>
  /** Says that it has contexts that it does not have. */
  lies: Set<string>
  isDraining: boolean
  isTelling: boolean
  drainedMs: number | undefined
}

const ADVERT_EVERY_MS = 20_000

/** First 32 bits of a hash, as a Kademlia id has them. */
export function positionOf(id: string): number {
  return createHash('sha256').update(id).digest().readUInt32BE(0)
}

export class ReplicationWorld {
  readonly peers: Map<string, WorldPeer> = new Map<string, WorldPeer>()
  readonly random: Random
  nowMs: number = 0
  /** The decisions of each core, for a failing test to print. */
  readonly effects: { atMs: number; peer: string; effect: ReplicationEffect }[] = []
  /** The most copies of one context that were being made at once. */
  mostMaking: number = 0
  /** Copies begun although there were enough and everyone had time to know that. */
  needless: number = 0
  #changedMs = 0
  readonly #options: Required<Omit<WorldOptions, 'core'>> & { core: Partial<ReplicationOptions> }
  #later: { atMs: number; run: () => void }[] = []

  constructor(options: WorldOptions) {
    this.#options = {
      bytes: 1e9,
      bytesPerSecond: 20e6,
      advertMs: 1_000,
      noticeMs: 3_000,
      stepMs: 500,
      core: {},
      ...options,
    }
    this.random = seededRandom(options.seed)
    for (let index = 0; index < options.peers; index += 1) this.#add(`peer-${index}`)
    for (const peer of this.peers.values()) this.#tellAll(peer)
  }

  get(name: string): WorldPeer {
    return this.peers.get(name)!
  }

  /** A context is put on a peer from outside. */
  import(name: string, contextId: string): void {
    this.#setShare(this.get(name), contextId, 1)
  }

  up(): WorldPeer[] {
    return [...this.peers.values()].filter(({ isUp }) => isUp)
  }

  /** Peers that are up, do not leave, and have the whole context. */
  copies(contextId: string): string[] {
    return this.up()
      .filter(({ disk, isDraining }) => !isDraining && (disk.get(contextId) ?? 0) >= 1)
      .map(({ name }) => name)
  }

  making(contextId: string): number {
    return this.up().filter(({ fetching }) => fetching.has(contextId)).length
  }

  vanish(name: string): void {
    const peer = this.get(name)
    peer.isUp = false
    peer.fetching.clear()
    // Its last advert came at some time in the refresh period.
    const heardMs = this.nowMs - randomBetween(this.random, 0, ADVERT_EVERY_MS)
    for (const other of this.up()) {
      this.#in(randomBetween(this.random, 100, this.#options.noticeMs), () => {
        if (!peer.isUp) this.dispatch(other, { kind: 'peer-silent', peer: name, heardMs })
      })
    }
  }

  /** A peer comes back with the disk it had. */
  comeBack(name: string, keepsDisk = true): void {
    this.#changedMs = this.nowMs
    const before = this.get(name)
    const peer = this.#add(name)
    if (keepsDisk) for (const [contextId, share] of before.disk) this.#setShare(peer, contextId, share)
    this.#tellAll(peer)
    for (const other of this.up()) if (other !== peer) this.#tell(other, peer)
  }

  drain(name: string): void {
    const peer = this.get(name)
    peer.isDraining = true
    this.dispatch(peer, { kind: 'drain' })
    this.#tellAll(peer)
  }

  /** Other peers are told that it stores what it does not have. */
  lie(name: string, contextId: string): void {
    const peer = this.get(name)
    peer.lies.add(contextId)
    this.dispatch(peer, { kind: 'room', bytes: 0 })
    this.#tellAll(peer)
  }

  setBusy(name: string, contextId: string): void {
    const peer = this.get(name)
    peer.busy.add(contextId)
    this.#setShare(peer, contextId, peer.disk.get(contextId) ?? 0)
  }

  run(ms: number): void {
    const untilMs = this.nowMs + ms
    while (this.nowMs < untilMs) this.#advance(untilMs)
  }

  /** Runs until it is true; returns how long that took, or undefined. */
  until(isTrue: () => boolean, withinMs: number): number | undefined {
    const sinceMs = this.nowMs
    while (!isTrue()) {
      if (this.nowMs - sinceMs >= withinMs) return undefined
      this.#advance(sinceMs + withinMs)
    }
    return this.nowMs - sinceMs
  }

  dispatch(peer: WorldPeer, event: ReplicationEvent): void {
    if (!peer.isUp) return
    const before = takesNow(peer.state, this.nowMs)
    for (const effect of step(peer.state, event, this.nowMs, this.random)) {
      this.effects.push({ atMs: this.nowMs, peer: peer.name, effect })
      this.#perform(peer, effect)
    }
    if (takesNow(peer.state, this.nowMs) !== before) this.#tellAll(peer)
  }

  /** To the next moment at which something happens, in whole steps. */
  #advance(untilMs: number): void {
    const isTransferring = this.up().some(({ fetching }) => fetching.size > 0)
    const nextMs = isTransferring ? 0 : Math.min(untilMs, ...this.#upcoming())
    this.nowMs += this.#options.stepMs * Math.max(1, Math.ceil((nextMs - this.nowMs) / this.#options.stepMs))
    const due = this.#later.filter(({ atMs }) => atMs <= this.nowMs)
    this.#later = this.#later.filter(({ atMs }) => atMs > this.nowMs)
    for (const { run } of due.sort((one, other) => one.atMs - other.atMs)) run()
    this.#transfer()
    for (const peer of this.up()) {
      const tickMs = nextTickMs(peer.state)
      if (tickMs !== undefined && tickMs <= this.nowMs) this.dispatch(peer, { kind: 'tick' })
      // Adverts are renewed though nothing has changed; it matters only of what grows.
      if (this.nowMs % ADVERT_EVERY_MS === 0 && peer.fetching.size > 0) this.#tellAll(peer)
    }
  }

  #upcoming(): number[] {
    const ticks = this.up().flatMap(({ state }) => nextTickMs(state) ?? [])
    return [...ticks, ...this.#later.map(({ atMs }) => atMs)]
  }

  /** Uplinks are the bound: those of the holders, and those of the fetchers, who send on what they have. */
  #transfer(): void {
    const contextIds = new Set(this.up().flatMap(({ fetching }) => [...fetching]))
    for (const contextId of contextIds) {
      const fetchers = this.up().filter(({ fetching }) => fetching.has(contextId))
      this.mostMaking = Math.max(this.mostMaking, fetchers.length)
      const holders = this.up().filter(({ disk }) => (disk.get(contextId) ?? 0) >= 1)
      if (holders.length === 0) continue
      const { bytes, bytesPerSecond } = this.#options
      const uplinks = (holders.length + fetchers.length) * bytesPerSecond
      const perFetcher = Math.min(bytesPerSecond, uplinks / fetchers.length)
      for (const peer of fetchers) {
        const share = (peer.disk.get(contextId) ?? 0) + (perFetcher * this.#options.stepMs) / 1000 / bytes
        if (share >= 1) peer.fetching.delete(contextId)
        this.#setShare(peer, contextId, Math.min(1, share))
        if (share >= 1) this.dispatch(peer, { kind: 'pulled', contextId, outcome: 'stored', hasGrown: true })
      }
    }
  }

  #setShare(peer: WorldPeer, contextId: string, share: number): void {
    const before = peer.disk.get(contextId) ?? 0
    peer.disk.set(contextId, share)
    const isFetching = peer.fetching.has(contextId)
    const tier = share >= 1 ? 'stored' : share > 0 ? 'partial' : 'absent'
    this.dispatch(peer, {
      kind: 'own',
      contextId,
      bytes: this.#options.bytes,
      holding: { tier, share, isFetching, isBusy: peer.busy.has(contextId) },
    })
    if (share >= 1 || before === 0) this.#tellAll(peer)
  }

  #perform(peer: WorldPeer, effect: ReplicationEffect): void {
    switch (effect.kind) {
      case 'look':
        return this.#look(peer, effect.contextId)
      case 'ask':
        if (this.get(effect.peer).isUp) return this.#hear(peer, this.get(effect.peer))
        return this.dispatch(peer, { ...effect, kind: 'peer-lost' })
      case 'pull':
        if (
          this.copies(effect.contextId).length >= 3 &&
          this.nowMs - this.#changedMs > 5_000 &&
          effect.why !== 'prefetch'
        )
          this.needless += 1
        peer.fetching.add(effect.contextId)
        return this.#setShare(peer, effect.contextId, peer.disk.get(effect.contextId) ?? 0)
      case 'cancel':
        return this.#in(0, () => this.#endPull(peer, effect.contextId))
      case 'offer':
        return this.#offer(peer, effect)
      case 'accept':
      case 'decline':
        return this.#answer(peer, effect)
      case 'audit':
        return this.#audit(peer, effect.peer, effect.contextId)
      case 'drained':
        peer.drainedMs ??= this.nowMs
        return
      case 'decision':
    }
  }

  #look(peer: WorldPeer, contextId: string): void {
    this.#in(randomBetween(this.random, 50, 2_000), () => {
      for (const other of this.up()) if (other !== peer) this.#hear(peer, other)
      this.dispatch(peer, { kind: 'looked', contextId })
    })
  }

  #endPull(peer: WorldPeer, contextId: string): void {
    if (!peer.fetching.delete(contextId)) return
    this.dispatch(peer, { kind: 'pulled', contextId, outcome: 'cancelled', hasGrown: false })
    this.#tellAll(peer)
  }

  #offer(
    from: WorldPeer,
    { peer: name, contextId, why, copies }: Extract<ReplicationEffect, { kind: 'offer' }>,
  ): void {
    this.#in(100, () => {
      const to = this.get(name)
      const bytes = this.#options.bytes
      if (to.isUp)
        return this.dispatch(to, { kind: 'offered', peer: from.name, contextId, bytes, why, copies })
      this.dispatch(from, { kind: 'offer-answered', peer: name, contextId, isAccepted: false, isHeld: false })
    })
  }

  #answer(from: WorldPeer, effect: Extract<ReplicationEffect, { kind: 'accept' | 'decline' }>): void {
    this.#in(100, () => {
      const isAccepted = effect.kind === 'accept'
      const isHeld = effect.kind === 'decline' && effect.code === 'held'
      const { contextId } = effect
      this.dispatch(this.get(effect.peer), {
        kind: 'offer-answered',
        peer: from.name,
        contextId,
        isAccepted,
        isHeld,
      })
    })
  }

  #audit(peer: WorldPeer, name: string, contextId: string): void {
    this.#in(200, () => {
      const other = this.get(name)
      const outcome = !other.isUp ? 'unknown' : (other.disk.get(contextId) ?? 0) >= 1 ? 'held' : 'lied'
      this.dispatch(peer, { kind: 'audited', peer: name, contextId, outcome })
    })
  }

  /** Changes that come together are told together. */
  #tellAll(peer: WorldPeer): void {
    if (peer.isTelling) return
    peer.isTelling = true
    this.#in(50, () => {
      peer.isTelling = false
      for (const other of this.up()) if (other !== peer) this.#tell(peer, other)
    })
  }

  #tell(peer: WorldPeer, other: WorldPeer): void {
    this.#in(randomBetween(this.random, 20, this.#options.advertMs), () => this.#hear(other, peer))
  }

  #hear(listener: WorldPeer, peer: WorldPeer): void {
    if (!peer.isUp) return
    const stored = [...peer.disk].filter(([contextId, share]) => share > 0 || peer.fetching.has(contextId))
    const contexts = stored.map(([contextId, share]) => ({
      contextId,
      tier: share >= 1 ? ('stored' as const) : ('partial' as const),
      share,
      bytes: this.#options.bytes,
      isFetching: peer.fetching.has(contextId),
      isBusy: peer.busy.has(contextId),
    }))
    for (const contextId of peer.lies) {
      contexts.push({ contextId, tier: 'stored', share: 1, bytes: 1, isFetching: false, isBusy: false })
    }
    const { isDraining } = peer
    const takes = takesNow(peer.state, this.nowMs)
    this.dispatch(listener, { kind: 'peer', peer: peer.name, takes, isDraining, contexts })
  }

  #add(name: string): WorldPeer {
    const peer: WorldPeer = {
      name,
      isUp: true,
      state: newReplication({ self: name, positionOf, nowMs: this.nowMs, options: this.#options.core }),
      disk: new Map(),
      fetching: new Set(),
      busy: new Set(),
      lies: new Set(),
      isDraining: false,
      isTelling: false,
      drainedMs: undefined,
    }
    this.peers.set(name, peer)
    return peer
  }

  #in(delayMs: number, run: () => void): void {
    this.#later.push({ atMs: this.nowMs + delayMs, run })
  }
}
