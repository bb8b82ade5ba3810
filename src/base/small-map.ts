/** Up to so many entries are looked for one after the other. */
const FEW = 4

/**
 * A map by number for where there mostly are one or two entries, which come and go all the time: V8's own makes
 * a new table with every few of them. Keys are in the order in which they came; more than a few are in a map as usual.
 */
export class SmallMap<Value> {
  /** Keys and values by turns, while there are few; made with the first. */
  #few: unknown[] | undefined
  #count = 0
  #many: Map<number, Value> | undefined

  get size(): number {
    return this.#many === undefined ? this.#count : this.#many.size
  }

  /** The value that came first. */
  get first(): Value | undefined {
    if (this.#many !== undefined) return this.#many.values().next().value
    return this.#few?.[1] as Value | undefined
  }

  has(key: number): boolean {
    return this.#many === undefined ? this.#placeOf(key) >= 0 : this.#many.has(key)
  }

  get(key: number): Value | undefined {
    if (this.#many !== undefined) return this.#many.get(key)
    const place = this.#placeOf(key)
    return place < 0 ? undefined : ((this.#few as unknown[])[place + 1] as Value)
  }

  set(key: number, value: Value): void {
    if (this.#many !== undefined) return void this.#many.set(key, value)
    const few = (this.#few ??= [
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ])
    let place = this.#placeOf(key)
    if (place < 0) {
      if (this.#count === FEW) return this.#spill(key, value)
      place = 2 * this.#count
      this.#count += 1
      few[place] = key
    }
    few[place + 1] = value
  }

  delete(key: number): boolean {
    if (this.#many !== undefined) {
      const isThere = this.#many.delete(key)
      if (this.#many.size === 0) this.#many = undefined
      return isThere
    }
    const place = this.#placeOf(key)
    if (place < 0) return false
    const few = this.#few as unknown[]
    this.#count -= 1
    const end = 2 * this.#count
    for (let at = place; at < end; at += 1) few[at] = few[at + 2]
    few[end] = undefined
    few[end + 1] = undefined
    return true
  }

  /** As they are now: the map may be changed meanwhile. */
  keys(): number[] {
    if (this.#many !== undefined) return [...this.#many.keys()]
    return this.#everySecond(0) as number[]
  }

  /** As they are now: the map may be changed meanwhile. */
  values(): Value[] {
    if (this.#many !== undefined) return [...this.#many.values()]
    return this.#everySecond(1) as Value[]
  }

  #placeOf(key: number): number {
    const few = this.#few
    if (few === undefined) return -1
    const end = 2 * this.#count
    for (let place = 0; place < end; place += 2) if (few[place] === key) return place
    return -1
  }

  #everySecond(first: number): unknown[] {
    const few = this.#few
    return few === undefined ? [] : Array.from({ length: this.#count }, (_, index) => few[2 * index + first])
  }

  #spill(key: number, value: Value): void {
    const many = new Map<number, Value>()
    const [keys, values] = [this.keys(), this.values()]
    for (const [index, each] of keys.entries()) many.set(each, values[index] as Value)
    many.set(key, value)
    this.#few = undefined
    this.#count = 0
    this.#many = many
  }
}
