interface Entry<T> {
  atMs: number
  sequence: number
  item: T
}

/** Items by time; those of one time in the order in which they were added. A binary heap. */
export class Pending<T> {
  readonly #entries: Entry<T>[] = []
  #added = 0

  add(atMs: number, item: T): void {
    const entry = { atMs, sequence: this.#added, item }
    this.#added += 1
    let index = this.#entries.length
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = this.#entries[parent]
      if (above === undefined || !isBefore(entry, above)) break
      this.#entries[index] = above
      index = parent
    }
    this.#entries[index] = entry
  }

  /** Takes the first item. */
  take(): { atMs: number; item: T } | undefined {
    const first = this.#entries[0]
    const last = this.#entries.pop()
    if (first === undefined || last === undefined || first === last) return first
    let index = 0
    for (;;) {
      const child = this.#earlierChild(index)
      const below = this.#entries[child]
      if (below === undefined || !isBefore(below, last)) break
      this.#entries[index] = below
      index = child
    }
    this.#entries[index] = last
    return first
  }

  #earlierChild(index: number): number {
    const left = this.#entries[2 * index + 1]
    const right = this.#entries[2 * index + 2]
    return left !== undefined && right !== undefined && isBefore(right, left) ? 2 * index + 2 : 2 * index + 1
  }
}

function isBefore<T>(a: Entry<T>, b: Entry<T>): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence)
}
