import { randomInteger, type Random } from '../../src/base/random.ts'

/** The peers of one group that are up, in the order in which they came up; taking any of them is O(1) on average. */
export class Group {
  /** In the order of coming up, with holes; `#indexes` says where each is. */
  #members: (number | undefined)[] = []
  readonly #indexes = new Map<number, number>()

  add(peer: number): void {
    this.#indexes.set(peer, this.#members.length)
    this.#members.push(peer)
  }

  remove(peer: number): void {
    const index = this.#indexes.get(peer)
    if (index === undefined) return
    this.#members[index] = undefined
    this.#indexes.delete(peer)
    if (this.#members.length > 32 && this.#indexes.size < this.#members.length / 4) this.#compact()
  }

  /** Takes up to `count` peers out, by age or at random. */
  take(count: number, which: 'random' | 'newest' | 'oldest', random: Random): number[] {
    const taken: number[] = []
    while (taken.length < count && this.#indexes.size > 0) {
      const peer = this.#choose(which, random)
      this.remove(peer)
      taken.push(peer)
    }
    return taken
  }

  #choose(which: 'random' | 'newest' | 'oldest', random: Random): number {
    for (let from = 0; ; from += 1) {
      const index =
        which === 'random'
          ? randomInteger(random, this.#members.length)
          : which === 'newest'
            ? this.#members.length - 1 - from
            : from
      const peer = this.#members[index]
      if (peer !== undefined) return peer
    }
  }

  #compact(): void {
    this.#members = this.#members.filter((peer) => peer !== undefined)
    for (const [index, peer] of this.#members.entries())
      if (peer !== undefined) this.#indexes.set(peer, index)
  }
}
