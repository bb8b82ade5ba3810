import type { Random } from '../../../src/base/random.ts'
import { randomInteger } from '../../../src/base/random.ts'
import { normal } from '../../churn/distribution.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import type { Dht } from '../../scenarios/schema.ts'
import { TAG } from '../events/tags.ts'

export type Tier = 'stored' | 'warm'

/** A list from which any entry is taken, and some are drawn, in a time that does not depend on its length. */
export class Listed {
  readonly peers: number[] = []
  /** The newest word on each peer, while it is on its way: a late one does not undo a later one. */
  readonly words: Map<number, number> = new Map<number, number>()
  /** Where each is, and 1; 0 where it is not: peers are numbered from 0. */
  #places = new Int32Array(64)

  has(peer: number): boolean {
    return (this.#places[peer] ?? 0) !== 0
  }

  add(peer: number): void {
    if (this.has(peer)) return
    if (peer >= this.#places.length) this.#grow(peer)
    this.peers.push(peer)
    this.#places[peer] = this.peers.length
  }

  delete(peer: number): void {
    if (!this.has(peer)) return
    const place = this.#places[peer] as number
    const last = this.peers.pop() as number
    this.#places[peer] = 0
    if (last === peer) return
    this.peers[place - 1] = last
    this.#places[last] = place
  }

  /** Up to `max` of them, each equally likely. */
  draw(max: number, random: Random): number[] {
    if (this.peers.length <= max) return [...this.peers]
    const drawn = new Set<number>()
    while (drawn.size < max) drawn.add(this.peers[randomInteger(random, this.peers.length)] as number)
    return [...drawn]
  }

  #grow(peer: number): void {
    const places = new Int32Array(2 * (peer + 1))
    places.set(this.#places)
    this.#places = places
  }
}

/** The holders that the DHT and adverts report: late, sometimes out of date, and not always. */
export class Directory {
  readonly #kernel: Kernel
  readonly #dht: Dht
  readonly #random: Random
  readonly #live = new Listed()
  readonly #tiers: Record<Tier, Map<number, Listed>> = { stored: new Map(), warm: new Map() }
  #words = 0

  constructor(kernel: Kernel, dht: Dht, random: Random) {
    this.#kernel = kernel
    this.#dht = dht
    this.#random = random
  }

  join(peer: number): void {
    this.#say(this.#live, peer, true)
  }

  leave(peer: number): void {
    this.#say(this.#live, peer, false)
  }

  hold(peer: number, context: number, tier: Tier): void {
    this.#say(this.#listOf(tier, context), peer, true)
  }

  unhold(peer: number, context: number, tier: Tier): void {
    this.#say(this.#listOf(tier, context), peer, false)
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

  #say(list: Listed, peer: number, isThere: boolean): void {
    const { publishS, staleS } = this.#dht
    const delayS = isThere ? publishS : staleS
    if (delayS === 0) {
      list.words.delete(peer)
      return apply({ list, peer, isThere })
    }
    const word = ++this.#words
    list.words.set(peer, word)
    this.#kernel.after(delayS * 1e6, TAG.directory, onWord, { list, peer, isThere, word })
  }

  #listOf(tier: Tier, context: number): Listed {
    const known = this.#tiers[tier].get(context)
    if (known !== undefined) return known
    const list = new Listed()
    this.#tiers[tier].set(context, list)
    return list
  }
}

/** A fact of a peer. */
interface Said {
  list: Listed
  peer: number
  isThere: boolean
}

function onWord(said: Said & { word: number }): void {
  const { list, peer, word } = said
  if (list.words.get(peer) !== word) return
  list.words.delete(peer)
  apply(said)
}

function apply({ list, peer, isThere }: Said): void {
  if (isThere) list.add(peer)
  else list.delete(peer)
}
