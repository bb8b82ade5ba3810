import { pick, randomInteger, type Random } from '../../src/base/random.ts'
import {
  DHT_BUCKET_SIZE,
  DHT_PARALLEL_QUESTIONS,
  DHT_SELF_QUERY_EVERY_MS,
  HOST_TIMINGS,
} from '../../src/node/libp2p/timings.ts'
import type { ChurnEvent } from '../churn/churn-events.ts'
import type { ChurnModel } from '../churn/churn-model.ts'
import { exponential, normal } from '../churn/distribution.ts'
import { FleetChurn } from '../churn/fleet-churn.ts'
import { Kernel } from '../kernel/kernel.ts'
import { RandomStreams } from '../kernel/random-streams.ts'
import { Lookup } from './lookup.ts'
import { Records } from './records.ts'
import { RoutingTable, type Id } from './routing-table.ts'

export interface DhtOptions {
  peers: number
  churn: ChurnModel
  /** Things that peers hold, and how many hold each. */
  keys: number
  holders: number
  /** Kademlia's k, and how many questions of one lookup are under way at once. */
  bucketSize: number
  parallel: number
  /** How long a dial to an offline peer takes, ms. */
  dialTimeoutMs: number
  /** Round trip between two peers: its median and spread; and round trips from dialling to the answer. */
  roundTripMs: number
  roundTripSigma: number
  roundTrips: number
  /** How long a record stands, and how long before its end it is renewed, ms. */
  recordMs: number
  renewMs: number
  /** How often a peer walks to its own id, ms. */
  refreshMs: number
  /** How often anybody looks for a key, per s over the whole swarm. */
  lookupsPerS: number
  /** Start and end of the measurement, ms. */
  settleMs: number
  untilMs: number
  seed: number
}

/** The constants that peers run with: docs/decisions/0002. */
export const DHT_DEFAULTS: Omit<DhtOptions, 'churn'> = {
  peers: 1_000,
  keys: 20,
  holders: 5,
  bucketSize: DHT_BUCKET_SIZE,
  parallel: DHT_PARALLEL_QUESTIONS,
  dialTimeoutMs: HOST_TIMINGS.addressDialMs,
  roundTripMs: 40,
  roundTripSigma: 0.6,
  roundTrips: 4,
  recordMs: HOST_TIMINGS.recordValidityMs,
  renewMs: HOST_TIMINGS.recordRenewBeforeMs,
  refreshMs: DHT_SELF_QUERY_EVERY_MS,
  lookupsPerS: 1,
  settleMs: 600_000,
  untilMs: 3_600_000,
  seed: 1,
}

/** One look for a key: until the first provider was heard of, or until all were asked that could know. */
export interface Find {
  tookMs: number
  questions: number
  /** Providers that the first answer named, and how many of these are up. */
  named: number
  live: number
  /** Whether any holder was up, and so could be found. */
  couldFind: boolean
}

export interface DhtMeasures {
  finds: Find[]
  /** How long it took to tell the closest peers of a key, ms. */
  providesMs: number[]
  questions: number
  /** Questions to peers that were gone. */
  unanswered: number
  meanLivePeers: number
  hash: string
}

interface Peer {
  number: number
  id: Id
  isUp: boolean
  /** Counts its sessions: what an earlier one had under way is void. */
  session: number
  table: RoutingTable
  records: Records
  keys: Id[]
}

const TAG = { churn: 1, question: 2, lookup: 3, upkeep: 4 }
const MS_US = 1_000

/**
 * A Kademlia DHT message by message on virtual time: tables, iterative lookups, records that end, peers
 * that come and go. Pessimistic in one thing: a peer that is gone is only found out by asking it.
 */
export class DhtWorld {
  readonly #options: DhtOptions
  readonly #kernel = new Kernel()
  readonly #streams: RandomStreams
  readonly #network: Random
  readonly #peers: Peer[] = []
  readonly #byId = new Map<Id, Peer>()
  readonly #up: Peer[] = []
  readonly #placeInUp = new Map<Peer, number>()
  readonly #holders = new Map<Id, Peer[]>()
  readonly #measures: DhtMeasures
  #liveMs = 0
  #countedMs = 0

  constructor(options: DhtOptions) {
    this.#options = options
    this.#streams = new RandomStreams(options.seed)
    this.#network = this.#streams.of('network', 'round-trips')
    this.#measures = { finds: [], providesMs: [], questions: 0, unanswered: 0, meanLivePeers: 0, hash: '' }
    const ids = this.#streams.of('peers', 'ids')
    for (let number = 0; number < options.peers; number += 1) this.#add(number, ids)
    const keys = this.#streams.of('keys', 'ids')
    for (let key = 0; key < options.keys; key += 1) this.#addKey(randomInteger(keys, 2 ** 32), keys)
  }

  run(): DhtMeasures {
    const { churn, peers, untilMs } = this.#options
    const fleet = new FleetChurn(churn, peers, (entity, purpose) => this.#streams.of(entity, purpose))
    this.#playAtStart(fleet)
    this.#scheduleFind(this.#streams.of('finds', 'times'))
    this.#kernel.run(untilMs * MS_US)
    this.#countLive()
    return { ...this.#measures, meanLivePeers: this.#liveMs / untilMs, hash: this.#kernel.hash }
  }

  #add(number: number, random: Random): Peer {
    let id = randomInteger(random, 2 ** 32)
    while (this.#byId.has(id)) id = randomInteger(random, 2 ** 32)
    const table = new RoutingTable(id, this.#options.bucketSize)
    const peer = { number, id, isUp: false, session: 0, table, records: new Records(), keys: [] }
    this.#peers[number] = peer
    this.#byId.set(id, peer)
    return peer
  }

  #addKey(key: Id, random: Random): void {
    const holders = Array.from({ length: this.#options.holders }, () => pick(random, this.#peers)).filter(
      (peer) => peer !== undefined,
    )
    this.#holders.set(key, holders)
    for (const peer of new Set(holders)) peer.keys.push(key)
  }

  /** Those that are up at time 0 know one another as after a long time: their tables are full. */
  #playAtStart(fleet: FleetChurn): void {
    let event = fleet.next()
    const first: Peer[] = []
    for (; event !== undefined && event.atMs === 0; event = fleet.next()) {
      const peer = this.#peers[event.peer]
      if (event.kind === 'up' && peer !== undefined) first.push(peer)
    }
    const shuffled = this.#streams.of('start', 'tables')
    for (const peer of first)
      for (let tries = 0; tries < 12 * this.#options.bucketSize; tries += 1)
        peer.table.admit(first[randomInteger(shuffled, first.length)]?.id ?? peer.id)
    // Random peers fill the far buckets; the near ones are few, and sorted ids have them side by side.
    const sorted = first.toSorted((a, b) => a.id - b.id)
    for (const [place, peer] of sorted.entries())
      for (let step = -this.#options.bucketSize; step <= this.#options.bucketSize; step += 1)
        peer.table.admit(sorted[place + step]?.id ?? peer.id)
    for (const peer of first) this.#comeUp(peer, false)
    if (event !== undefined) this.#schedule(fleet, event)
  }

  #schedule(fleet: FleetChurn, event: ChurnEvent): void {
    this.#kernel.at(event.atMs * MS_US, TAG.churn, () => {
      const peer = this.#peers[event.peer] ?? this.#add(event.peer, this.#streams.of(event.peer, 'late-id'))
      if (event.kind === 'up' || event.kind === 'thaw') this.#comeUp(peer, event.kind === 'up')
      else if (event.kind !== 'notice') this.#goDown(peer, event.kind === 'down')
      const next = fleet.next()
      if (next !== undefined) this.#schedule(fleet, next)
    })
  }

  #comeUp(peer: Peer, isNew: boolean): void {
    this.#countLive()
    peer.isUp = true
    peer.session += 1
    this.#placeInUp.set(peer, this.#up.length)
    this.#up.push(peer)
    const random = this.#streams.of(peer.number, 'upkeep', peer.session)
    if (isNew) {
      peer.table = new RoutingTable(peer.id, this.#options.bucketSize)
      peer.records.clear()
      // One address to join through, which somebody gave it.
      const door = pick(random, this.#up)
      if (door !== undefined) peer.table.admit(door.id)
      this.#lookUp(peer, peer.id, () => this.#provideAll(peer))
    } else {
      this.#later(peer, random.next() * this.#options.renewMs, () => this.#provideAll(peer))
    }
    this.#keepUp(peer, random)
  }

  #goDown(peer: Peer, forgets: boolean): void {
    this.#countLive()
    peer.isUp = false
    peer.session += 1
    if (forgets) peer.records.clear()
    const place = this.#placeInUp.get(peer)
    const last = this.#up.pop()
    this.#placeInUp.delete(peer)
    if (place === undefined || last === undefined || last === peer) return
    this.#up[place] = last
    this.#placeInUp.set(last, place)
  }

  #countLive(): void {
    this.#liveMs += this.#up.length * (this.#kernel.nowMs - this.#countedMs)
    this.#countedMs = this.#kernel.nowMs
  }

  /** Runs `run` unless the peer's session has ended by then. */
  #later(peer: Peer, delayMs: number, run: () => void): void {
    const { session } = peer
    this.#kernel.after(delayMs * MS_US, TAG.upkeep, () => {
      if (peer.session === session) run()
    })
  }

  #keepUp(peer: Peer, random: Random): void {
    this.#later(peer, this.#options.refreshMs * (0.5 + random.next()), () => {
      this.#lookUp(peer, peer.id, () => {})
      this.#keepUp(peer, random)
    })
  }

  #provideAll(peer: Peer): void {
    for (const key of peer.keys) this.#provide(peer, key)
    if (peer.keys.length > 0)
      this.#later(peer, this.#options.recordMs - this.#options.renewMs, () => this.#provideAll(peer))
  }

  #provide(peer: Peer, key: Id): void {
    const startMs = this.#kernel.nowMs
    this.#lookUp(peer, key, (closest) => {
      for (const id of closest) {
        const told = this.#byId.get(id)
        if (told?.isUp === true) told.records.put(key, peer.id, this.#kernel.nowMs + this.#options.recordMs)
      }
      if (startMs >= this.#options.settleMs) this.#measures.providesMs.push(this.#kernel.nowMs - startMs)
    })
  }

  #scheduleFind(random: Random): void {
    this.#kernel.after((exponential(random) / this.#options.lookupsPerS) * 1e6, TAG.lookup, () => {
      const seeker = pick(random, this.#up)
      const key = pick(random, [...this.#holders.keys()])
      if (seeker !== undefined && key !== undefined) this.#find(seeker, key)
      this.#scheduleFind(random)
    })
  }

  #find(seeker: Peer, key: Id): void {
    const startMs = this.#kernel.nowMs
    let questions = 0
    let isDone = false
    const done = (providers: readonly Id[]): void => {
      if (isDone) return
      isDone = true
      if (startMs < this.#options.settleMs) return
      const named = providers.filter((id) => id !== seeker.id)
      const live = named.filter((id) => this.#byId.get(id)?.isUp === true).length
      const couldFind = (this.#holders.get(key) ?? []).some((peer) => peer.isUp && peer !== seeker)
      this.#measures.finds.push({
        tookMs: this.#kernel.nowMs - startMs,
        questions,
        named: named.length,
        live,
        couldFind,
      })
    }
    const own = seeker.records.get(key, startMs)
    if (own.length > 0) return done(own)
    this.#lookUp(
      seeker,
      key,
      () => done([]),
      (asked) => {
        questions += 1
        const providers = asked.records.get(key, this.#kernel.nowMs)
        if (providers.length > 0) done(providers)
        return providers.length > 0
      },
    )
  }

  /**
   * Walks to `target`; `onAnswer` sees each peer that answers, and ends the walk with true. A seeker that
   * goes down ends it silently.
   */
  #lookUp(
    seeker: Peer,
    target: Id,
    onDone: (closest: readonly Id[]) => void,
    onAnswer: (asked: Peer) => boolean = () => false,
  ): void {
    const { bucketSize, parallel } = this.#options
    const lookup = new Lookup(target, bucketSize, parallel)
    const { session } = seeker
    let isOver = false
    lookup.hear(seeker.table.closest(target, bucketSize))
    const goOn = (): void => {
      if (isOver || seeker.session !== session) return
      for (const id of lookup.next())
        this.#ask(seeker, id, lookup, {
          onAnswer,
          onDone: (ends) => {
            isOver ||= ends
            goOn()
          },
        })
      if (!lookup.isOver) return
      isOver = true
      onDone(lookup.found)
    }
    goOn()
  }

  #ask(
    seeker: Peer,
    id: Id,
    lookup: Lookup,
    { onAnswer, onDone }: { onAnswer: (asked: Peer) => boolean; onDone: (ends: boolean) => void },
  ): void {
    const asked = this.#byId.get(id)
    this.#measures.questions += 1
    const { roundTripMs, roundTripSigma, roundTrips, dialTimeoutMs, bucketSize } = this.#options
    const tookMs = roundTrips * roundTripMs * Math.exp(roundTripSigma * normal(this.#network))
    const answers = asked?.isUp === true
    if (!answers) this.#measures.unanswered += 1
    this.#kernel.after((answers ? tookMs : dialTimeoutMs) * MS_US, TAG.question, () => {
      if (!answers || asked === undefined || !asked.isUp) {
        seeker.table.evict(id)
        lookup.failed(id)
        return onDone(false)
      }
      asked.table.admit(seeker.id)
      seeker.table.admit(id)
      const ends = onAnswer(asked)
      lookup.answered(
        id,
        asked.table.closest(lookup.target, bucketSize).filter((other) => other !== seeker.id),
      )
      onDone(ends)
    })
  }
}
