import { ADVERT_TTL_MS_MAX, CONNECTIONS_MAX } from '../../../src/base/limits.ts'
import type { Random } from '../../../src/base/random.ts'
import type { SaidPeer } from '../../../src/context-sharing/replication/replica-view.ts'
import { ADVERT_TIMINGS } from '../../../src/dht/timings.ts'
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
  /** Nothing is heard of it any more, last at `heardMs`. */
  miss(peer: string, heardMs: number): void
  /** Whether it would ask a peer of which nothing was heard for long. */
  caresFor(peer: string): boolean
}

interface Entry {
  readonly peer: Advertiser
  readonly connected: Set<Entry>
  /** Others that were asked, though not connected, and when they answered. */
  readonly asked: Map<Entry, number>
  isTelling: boolean
  isExpiring: boolean
}

const CHANGE_DELAY_US = 1000 * ADVERT_TIMINGS.changeDelayMs
const EXPIRY_US = 1000 * ADVERT_TTL_MS_MAX
const GREET_US = 1000 * ADVERT_TIMINGS.greetAfterMs[0]
const GONE_US = 350_000

/** What adverts tell peers of one another: connected ones hear every change, others are asked by who looks. */
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
      isTelling: false,
      isExpiring: false,
    }
    for (const other of this.#draw()) {
      if (!this.#reaches(peer.number, other.peer.number)) continue
      entry.connected.add(other)
      other.connected.add(entry)
    }
    this.#entries.set(peer.number, entry)
    this.#near.add(peer.position, peer.number)
    this.#there.add(peer.number)
    this.#after(GREET_US, () => this.#greet(entry))
  }

  /** It is gone; `isSilent`: without closing its connections. */
  leave(peer: Advertiser, isSilent: boolean): void {
    const entry = this.#entries.get(peer.number)
    if (entry === undefined) return
    this.#entries.delete(peer.number)
    this.#near.delete(peer.position, peer.number)
    this.#there.delete(peer.number)
    for (const other of entry.connected) {
      other.connected.delete(entry)
      this.#missLater(entry, other, isSilent)
    }
  }

  /** What it says has changed: those connected hear so; changes that come together are told together. */
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
        entry.connected.delete(other)
        this.#missLater(other, entry, true)
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
        entry.connected.add(other)
        other.connected.add(entry)
      }
    }
    this.#after(GREET_US, () => {
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

  #missLater(gone: Entry, other: Entry, isSilent: boolean): void {
    const heardMs = this.#kernel.nowMs - this.#random.next() * ADVERT_TIMINGS.refreshEveryMs
    const atUs = isSilent
      ? heardMs * 1000 + EXPIRY_US + 1000 * ADVERT_DEADLINE_MS
      : this.#kernel.nowUs + GONE_US
    this.#kernel.at(atUs, TAG.advert, () => {
      // It may be back, or be reached again, by now.
      if (this.#entries.get(gone.peer.number)?.connected.has(other) === true) return
      other.peer.miss(gone.peer.id, heardMs)
    })
  }

  #ask(entry: Entry, other: Entry): void {
    const heardUs = entry.asked.get(other)
    if (heardUs !== undefined && this.#kernel.nowUs - heardUs < 1000 * ADVERT_AGE_MS_MAX) return
    if (!other.peer.isThere || !this.#reaches(entry.peer.number, other.peer.number)) return
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
    const { peer } = other
    if (entry.connected.has(other)) return
    const isThere = this.#entries.get(peer.number) === other && peer.isThere
    if (isThere && entry.peer.caresFor(peer.id)) this.#ask(entry, other)
    else if (this.#entries.get(peer.number)?.connected.has(entry) !== true)
      entry.peer.miss(peer.id, heardUs / 1000)
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
