import type { Random } from '../../src/base/random.ts'
import { randomInteger } from '../../src/base/random.ts'
import { normal } from '../churn/distribution.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Dht } from '../scenarios/schema.ts'
import { TAG } from './tags.ts'

export type Tier = 'stored' | 'warm'

/** A list from which any entry is taken, and some are drawn, in a time that does not depend on its length. */
export class Listed {
  readonly peers: number[] = []
  readonly #places = new Map<number, number>()

  has(peer: number): boolean {
    return this.#places.has(peer)
  }

  add(peer: number): void {
    if (this.#places.has(peer)) return
    this.#places.set(peer, this.peers.length)
    this.peers.push(peer)
  }

  delete(peer: number): void {
    const place = this.#places.get(peer)
    if (place === undefined) return
    const last = this.peers.pop() as number
    this.#places.delete(peer)
    if (last === peer) return
    this.peers[place] = last
    this.#places.set(last, place)
  }

  /** Up to `max` of them, each equally likely. */
  draw(max: number, random: Random): number[] {
    if (this.peers.length <= max) return [...this.peers]
    const drawn = new Set<number>()
    while (drawn.size < max) drawn.add(this.peers[randomInteger(random, this.peers.length)] as number)
    return [...drawn]
  }
}

/** What the DHT and the adverts tell of who is there and holds what: late, for a while too long, and not always. */
export class Directory {
  readonly #kernel: Kernel
  readonly #dht: Dht
  readonly #random: Random
  readonly #live = new Listed()
  readonly #tiers: Record<Tier, Map<number, Listed>> = { stored: new Map(), warm: new Map() }
  /** What was last said of a peer: a late word does not undo a later one. */
  readonly #said = new Map<string, number>()

  constructor(kernel: Kernel, dht: Dht, random: Random) {
    this.#kernel = kernel
    this.#dht = dht
    this.#random = random
  }

  join(peer: number): void {
    this.#say(`live ${peer}`, this.#dht.publishS, () => this.#live.add(peer))
  }

  leave(peer: number): void {
    this.#say(`live ${peer}`, this.#dht.staleS, () => this.#live.delete(peer))
  }

  hold(peer: number, context: number, tier: Tier): void {
    const list = this.#listOf(tier, context)
    this.#say(`${tier} ${context} ${peer}`, this.#dht.publishS, () => list.add(peer))
  }

  unhold(peer: number, context: number, tier: Tier): void {
    const list = this.#listOf(tier, context)
    this.#say(`${tier} ${context} ${peer}`, this.#dht.staleS, () => list.delete(peer))
  }

  tierOf(peer: number, context: number): Tier | 'absent' {
    if (this.#listOf('warm', context).has(peer)) return 'warm'
    return this.#listOf('stored', context).has(peer) ? 'stored' : 'absent'
  }

  /** Calls `onFound` with what one look-up finds: warm holders first, then other holders, then whoever is there. */
  find(context: number, tag: number, onFound: (peers: number[]) => void): void {
    this.#answer(tag, onFound, () => {
      const { answersMax } = this.#dht
      const holders = [
        ...this.#listOf('warm', context).draw(answersMax, this.#random),
        ...this.#listOf('stored', context).draw(answersMax, this.#random),
      ]
      const found = new Set(holders.slice(0, answersMax))
      for (const peer of this.#live.draw(answersMax, this.#random)) {
        if (found.size >= 2 * answersMax) break
        found.add(peer)
      }
      return [...found]
    })
  }

  /** Calls `onFound` with peers that hold the context. */
  holders(context: number, tag: number, onFound: (peers: number[]) => void): void {
    this.#answer(tag, onFound, () => this.#listOf('stored', context).draw(this.#dht.answersMax, this.#random))
  }

  #answer(tag: number, onFound: (peers: number[]) => void, look: () => number[]): void {
    const { lookupMs, lookupSigma, success } = this.#dht
    const tookUs = lookupMs * 1000 * (lookupSigma === 0 ? 1 : Math.exp(lookupSigma * normal(this.#random)))
    const isFound = success === 1 || this.#random.next() < success
    this.#kernel.after(tookUs, TAG.directory + tag, () => onFound(isFound ? look() : []))
  }

  #say(fact: string, delayS: number, change: () => void): void {
    const { publishS, staleS } = this.#dht
    if (publishS === 0 && staleS === 0) return change()
    const word = (this.#said.get(fact) ?? 0) + 1
    this.#said.set(fact, word)
    if (delayS === 0) return change()
    this.#kernel.after(delayS * 1e6, TAG.directory, () => {
      if (this.#said.get(fact) === word) change()
    })
  }

  #listOf(tier: Tier, context: number): Listed {
    const known = this.#tiers[tier].get(context)
    if (known !== undefined) return known
    const list = new Listed()
    this.#tiers[tier].set(context, list)
    return list
  }
}
