/**
 * The scheduled events, by time and then by scheduling order: a heap with four children per node in typed
 * arrays, so that no object is allocated per event. Times are integer microseconds.
 */
export class EventHeap {
  #times: Float64Array
  #sequences: Float64Array
  #slots: Int32Array
  #size = 0

  constructor(capacity = 1024) {
    this.#times = new Float64Array(capacity)
    this.#sequences = new Float64Array(capacity)
    this.#slots = new Int32Array(capacity)
  }

  get size(): number {
    return this.#size
  }

  /** Time of the first; infinite when there is none. */
  get firstUs(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : (this.#times[0] as number)
  }

  push(timeUs: number, sequence: number, slot: number): void {
    if (this.#size === this.#times.length) this.#grow()
    const times = this.#times
    const sequences = this.#sequences
    const slots = this.#slots
    let at = this.#size++
    while (at > 0) {
      const parent = (at - 1) >> 2
      const parentUs = times[parent] as number
      if (parentUs < timeUs || (parentUs === timeUs && (sequences[parent] as number) < sequence)) break
      times[at] = parentUs
      sequences[at] = sequences[parent] as number
      slots[at] = slots[parent] as number
      at = parent
    }
    times[at] = timeUs
    sequences[at] = sequence
    slots[at] = slot
  }

  /** Takes the first out and returns its slot; -1 when there is none. */
  pop(): number {
    if (this.#size === 0) return -1
    const slot = this.#slots[0] as number
    this.#size -= 1
    if (this.#size > 0) this.#sink()
    return slot
  }

  /** Puts the last one where it belongs, beginning at the top. */
  #sink(): void {
    const times = this.#times
    const sequences = this.#sequences
    const slots = this.#slots
    const size = this.#size
    const timeUs = times[size] as number
    const sequence = sequences[size] as number
    let at = 0
    for (;;) {
      const first = 4 * at + 1
      if (first >= size) break
      let least = first
      let leastUs = times[first] as number
      const end = Math.min(first + 4, size)
      for (let child = first + 1; child < end; child += 1) {
        const childUs = times[child] as number
        if (
          childUs < leastUs ||
          (childUs === leastUs && (sequences[child] as number) < (sequences[least] as number))
        ) {
          least = child
          leastUs = childUs
        }
      }
      if (timeUs < leastUs || (timeUs === leastUs && sequence < (sequences[least] as number))) break
      times[at] = leastUs
      sequences[at] = sequences[least] as number
      slots[at] = slots[least] as number
      at = least
    }
    times[at] = timeUs
    sequences[at] = sequence
    slots[at] = slots[size] as number
  }

  #grow(): void {
    const capacity = this.#times.length * 2
    const [times, sequences, slots] = [this.#times, this.#sequences, this.#slots]
    this.#times = new Float64Array(capacity)
    this.#times.set(times)
    this.#sequences = new Float64Array(capacity)
    this.#sequences.set(sequences)
    this.#slots = new Int32Array(capacity)
    this.#slots.set(slots)
  }
}
