/** Peers by where Kademlia places them: the nearest to a key are found without looking at all. */
export class NearestPeers {
  /** In order, each with its peer. */
  readonly #positions: number[] = []
  readonly #peers: number[] = []

  add(position: number, peer: number): void {
    const at = this.#firstNotBelow(position)
    this.#positions.splice(at, 0, position)
    this.#peers.splice(at, 0, peer)
  }

  delete(position: number, peer: number): void {
    for (let at = this.#firstNotBelow(position); this.#positions[at] === position; at += 1) {
      if (this.#peers[at] !== peer) continue
      this.#positions.splice(at, 1)
      this.#peers.splice(at, 1)
      return
    }
  }

  /** The `max` nearest by XOR, the nearest first: they all are in the smallest subtree that holds so many. */
  nearest(key: number, max: number): number[] {
    for (let bits = 0; bits <= 32; bits += 1) {
      const size = 2 ** bits
      const low = Math.floor(key / size) * size
      const from = this.#firstNotBelow(low)
      const to = this.#firstNotBelow(low + size)
      if (to - from < max && bits < 32) continue
      const found = Array.from({ length: to - from }, (_, index) => from + index)
      const distance = (at: number): number => ((this.#positions[at] as number) ^ key) >>> 0
      found.sort((left, right) => distance(left) - distance(right))
      return found.slice(0, max).map((at) => this.#peers[at] as number)
    }
    return []
  }

  #firstNotBelow(position: number): number {
    let low = 0
    let high = this.#positions.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#positions[middle] as number) < position) low = middle + 1
      else high = middle
    }
    return low
  }
}
