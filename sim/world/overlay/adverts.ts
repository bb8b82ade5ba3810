import { ADVERT_TTL_MS_MAX, CONNECTIONS_MAX } from '../../../src/base/limits.ts'
import type { Random } from '../../../src/base/random.ts'
import type { SaidPeer } from '../../../src/context-sharing/replication/replica-view.ts'
import { DepartureChecks } from '../../../src/dht/core/departures.ts'
import { ADVERT_TIMINGS, DEPARTURES_TIMINGS, EXPIRE_EVERY_MS } from '../../../src/dht/timings.ts'
import { ADVERT_AGE_MS_MAX, ADVERT_DEADLINE_MS } from '../../../src/node/contexts/timings.ts'
import { DHT_BUCKET_SIZE } from '../../../src/node/libp2p/timings.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import { Listed } from './directory.ts'
import { NearestPeers } from './nearest-peers.ts'
import { TAG } from '../events/tags.ts'
import { ASK_US } from '../../scenarios/outside.ts'

/** A peer as one that says what it has and hears what others have. */
export interface Advertiser {
  readonly number: number
  readonly id: string
  /** Its place among the keys of the DHT: 32 bits. */
  readonly position: number
  /** Whether it is up and answers. */
  readonly isThere: boolean
  said(): SaidPeer
  hear(said: SaidPeer): void
  /** Nothing was heard of the peer since `heardMs`. Returns whether it is asked before it counts as lost. */
  silent(peer: string, heardMs: number): boolean
  /** The peer does not answer; it was last heard at `heardMs`. */
  miss(peer: string, heardMs: number): void
}

interface Entry {
  readonly peer: Advertiser
  readonly connected: Set<Entry>
  /** Others that were asked, though not connected, and when they answered. */
  readonly asked: Map<Entry, number>
  /** Those that hung up and are dialled once; made when one does. */
  checks: DepartureChecks<Entry> | undefined
  isTelling: boolean
  isExpiring: boolean
  /** It is gone, and refuses no dial: those who ask it wait for as long as they wait for an answer. */
  isSilent: boolean
}

const CHANGE_DELAY_US = 1000 * ADVERT_TIMINGS.changeDelayMs
const EXPIRY_US = 1000 * ADVERT_TTL_MS_MAX

/** The adverts of peers. Connected peers hear every change; a look-up asks the others. */
export class Adverts {
  readonly #kernel: Kernel
  readonly #random: Random
  readonly #reaches: (one: number, other: number) => boolean
  readonly #entries = new Map<number, Entry>()
  readonly #near = new NearestPeers()
  readonly #there = new Listed()

  /** `reaches`: whether the network lets two peers talk. */
  constructor(kernel: Kernel, random: Random, reaches: (one: number, other: number) => boolean) {
    this.#kernel = kernel
    this.#random = random
    this.#reaches = reaches
  }

  /** It came up: it is connected to some of those that are there, and they swap adverts. */
  join(peer: Advertiser): void {
    const entry: Entry = {
      peer,
      connected: new Set(),
      asked: new Map(),
      checks: undefined,
      isTelling: false,
      isExpiring: false,
      isSilent: false,
    }
    for (const other of this.#draw()) {
      if (this.#reaches(peer.number, other.peer.number)) connect(entry, other)
    }
    this.#entries.set(peer.number, entry)
    this.#near.add(peer.position, peer.number)
    this.#there.add(peer.number)
    // The one of two with the smaller id begins at once: a swap is a question and its answer.
    this.#after(ASK_US, () => this.#greet(entry))
  }

  /** It is gone; `isSilent`: without closing its connections. */
  leave(peer: Advertiser, isSilent: boolean): void {
    const entry = this.#entries.get(peer.number)
    if (entry === undefined) return
    this.#entries.delete(peer.number)
    this.#near.delete(peer.position, peer.number)
    this.#there.delete(peer.number)
    entry.isSilent = isSilent
    for (const other of entry.connected) this.#disconnect(entry, other, isSilent)
  }

  /** An advert has changed: connected peers are told; simultaneous changes are told together. */
  tell(peer: Advertiser): void {
    const entry = this.#entries.get(peer.number)
    if (entry === undefined || entry.isTelling) return
    entry.isTelling = true
    this.#after(CHANGE_DELAY_US, () => {
      entry.isTelling = false
      if (!peer.isThere) return
      const said = peer.said()
      for (const other of entry.connected) this.#pass(said, entry, other)
    })
  }

  /** Asks `holders` and the peers near a key what they have, unless they said so lately; then calls `onDone`. */
  look(peer: Advertiser, key: number, holders: readonly number[], onDone: () => void): void {
    const entry = this.#entries.get(peer.number)
    const numbers = new Set([...holders, ...this.#near.nearest(key, DHT_BUCKET_SIZE)])
    this.#after(ASK_US, () => {
      for (const number of numbers) {
        const other = this.#entries.get(number)
        if (entry === undefined || other === undefined || other === entry) continue
        if (!entry.connected.has(other)) this.#ask(entry, other)
      }
      onDone()
    })
  }

  /** The network is cut between some peers: they hear nothing more of one another. */
  cut(): void {
    for (const entry of this.#entriesOf(this.#there.peers)) {
      for (const other of entry.connected) {
        if (this.#reaches(entry.peer.number, other.peer.number)) continue
        this.#disconnect(other, entry, true)
      }
    }
  }

  /** The cut is healed: peers are connected to some of the others again. */
  heal(): void {
    const there = this.#entriesOf(this.#there.peers)
    for (const entry of there) {
      for (const other of this.#draw()) {
        if (other === entry || entry.connected.size >= CONNECTIONS_MAX || entry.connected.has(other)) continue
        if (!this.#reaches(entry.peer.number, other.peer.number)) continue
        connect(entry, other)
      }
    }
    this.#after(ASK_US, () => {
      for (const entry of there) this.#greet(entry)
    })
  }

  #greet(entry: Entry): void {
    if (!entry.peer.isThere) return
    const said = entry.peer.said()
    for (const other of entry.connected) {
      this.#pass(said, entry, other)
      if (other.peer.isThere) this.#pass(other.peer.said(), other, entry)
    }
  }

  #pass(said: SaidPeer, from: Entry, to: Entry): void {
    if (to.peer.isThere && this.#reaches(from.peer.number, to.peer.number)) to.peer.hear(said)
  }

  /** `gone` has disconnected. `isSilent`: it did not hang up, so only its silence tells. */
  #disconnect(gone: Entry, other: Entry, isSilent: boolean): void {
    other.connected.delete(gone)
    const heardMs = this.#kernel.nowMs - this.#random.next() * ADVERT_TIMINGS.refreshEveryMs
    const waitMs = isSilent ? undefined : checksOf(other).begin(gone, this.#random)
    if (waitMs !== undefined) return this.#after(1000 * waitMs, () => this.#redial(gone, other, heardMs))
    this.#kernel.at(1000 * expiryMs(heardMs), TAG.advert, () => this.#onExpired(gone, other, heardMs))
  }

  /** A member that hung up is dialled once: it may be back. */
  #redial(gone: Entry, other: Entry, heardMs: number): void {
    checksOf(other).end(gone)
    if (this.#entries.get(other.peer.number) !== other) return
    const back = this.#entries.get(gone.peer.number)
    if (back === undefined || !this.#reaches(back.peer.number, other.peer.number))
      return this.#onExpired(gone, other, heardMs)
    if (back.connected.has(other)) return
    connect(back, other)
    this.#after(ASK_US, () => {
      this.#pass(back.peer.said(), back, other)
      this.#pass(other.peer.said(), other, back)
    })
  }

  /** The advert of `gone` has expired. */
  #onExpired(gone: Entry, other: Entry, heardMs: number): void {
    const back = this.#entries.get(gone.peer.number)
    // Meanwhile `gone` may have returned or be reachable again, and `other` may have left.
    if (back?.connected.has(other) === true || this.#entries.get(other.peer.number) !== other) return
    if (!other.peer.silent(gone.peer.id, heardMs)) return
    if (back !== undefined && this.#answers(back, other)) return this.#ask(other, back)
    const tookMs = gone.isSilent || back !== undefined ? ADVERT_DEADLINE_MS : 0
    this.#after(1000 * tookMs, () => {
      if (this.#entries.get(gone.peer.number)?.connected.has(other) !== true)
        other.peer.miss(gone.peer.id, heardMs)
    })
  }

  #answers({ peer }: Entry, asker: Entry): boolean {
    return peer.isThere && this.#reaches(peer.number, asker.peer.number)
  }

  #ask(entry: Entry, other: Entry): void {
    const heardUs = entry.asked.get(other)
    if (heardUs !== undefined && this.#kernel.nowUs - heardUs < 1000 * ADVERT_AGE_MS_MAX) return
    if (!this.#answers(other, entry)) return
    entry.asked.set(other, this.#kernel.nowUs)
    entry.peer.hear(other.peer.said())
    this.#expireLater(entry)
  }

  /** Adverts of those that are not connected expire; who matters is asked again. */
  #expireLater(entry: Entry): void {
    if (entry.isExpiring || entry.asked.size === 0) return
    entry.isExpiring = true
    this.#after(EXPIRY_US, () => {
      entry.isExpiring = false
      if (this.#entries.get(entry.peer.number) !== entry) return
      const asked = new Map(entry.asked)
      for (const [other, heardUs] of asked) this.#renew(entry, other, heardUs)
      this.#expireLater(entry)
    })
  }

  #renew(entry: Entry, other: Entry, heardUs: number): void {
    entry.asked.delete(other)
    if (!entry.connected.has(other)) this.#onExpired(other, entry, heardUs / 1000)
  }

  /** Some of those that are there, each equally likely. */
  #draw(): Entry[] {
    return this.#entriesOf(this.#there.draw(CONNECTIONS_MAX, this.#random))
  }

  #entriesOf(numbers: readonly number[]): Entry[] {
    return numbers.map((number) => this.#entries.get(number) as Entry)
  }

  #after(delayUs: number, run: () => void): void {
    this.#kernel.after(delayUs, TAG.advert, run)
  }
}

function connect(one: Entry, other: Entry): void {
  one.connected.add(other)
  other.connected.add(one)
}

function checksOf(entry: Entry): DepartureChecks<Entry> {
  entry.checks ??= new DepartureChecks(DEPARTURES_TIMINGS)
  return entry.checks
}

/** When an advert that came at `heardMs` is found to have expired. */
function expiryMs(heardMs: number): number {
  return EXPIRE_EVERY_MS * Math.ceil((heardMs + ADVERT_TTL_MS_MAX) / EXPIRE_EVERY_MS)
}
