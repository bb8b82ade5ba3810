/** Ids are unsigned 32-bit integers; their distance is their XOR. */
export type Id = number

export function distance(a: Id, b: Id): number {
  return (a ^ b) >>> 0
}

/** The peers that a peer knows: one bounded bucket for each length of the prefix shared with its own id. */
export class RoutingTable {
  readonly #self: Id
  readonly #bucketSize: number
  readonly #buckets: Id[][] = []

  constructor(self: Id, bucketSize: number) {
    this.#self = self
    this.#bucketSize = bucketSize
  }

  get size(): number {
    return this.#buckets.reduce((sum, bucket) => sum + bucket.length, 0)
  }

  /** Takes a peer if its bucket has room: who has been there longest is likeliest to stay. */
  admit(id: Id): void {
    if (id === this.#self) return
    const bucket = (this.#buckets[this.#indexOf(id)] ??= [])
    if (bucket.length < this.#bucketSize && !bucket.includes(id)) bucket.push(id)
  }

  evict(id: Id): void {
    const bucket = this.#buckets[this.#indexOf(id)]
    const index = bucket?.indexOf(id) ?? -1
    if (index >= 0) bucket?.splice(index, 1)
  }

  /** The known peers closest to `target`, closest first. */
  closest(target: Id, count: number): Id[] {
    const near: Id[] = []
    // The bucket that the target falls into, then those that share more with us, are nearer than all the rest.
    const first = Math.min(this.#indexOf(target), 31)
    for (let index = first; index < this.#buckets.length; index += 1)
      near.push(...(this.#buckets[index] ?? []))
    for (let index = first - 1; index >= 0 && near.length < count; index -= 1)
      near.push(...(this.#buckets[index] ?? []))
    return near.sort((a, b) => distance(a, target) - distance(b, target)).slice(0, count)
  }

  #indexOf(id: Id): number {
    return Math.clz32(this.#self ^ id)
  }
}
