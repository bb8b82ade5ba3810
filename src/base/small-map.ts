/**
 * A map with number keys for one or two entries that change often. It stores those two in its own fields, so a
 * look-up touches one place in memory, where V8's Map often allocates a new table. More entries go into a Map.
 * Keys iterate in insertion order.
 */
export class SmallMap<Value> {
  /** The first `#count` entries, while all are here. */
  #oneKey = 0
  #one: Value | undefined
  #twoKey = 0
  #two: Value | undefined
  #count = 0
  #many: Map<number, Value> | undefined

  get size(): number {
    return this.#many === undefined ? this.#count : this.#many.size
  }

  /** The value that came first. */
  get first(): Value | undefined {
    return this.#many === undefined ? this.#one : this.#many.values().next().value
  }

  has(key: number): boolean {
    return this.#many === undefined ? this.#placeOf(key) > 0 : this.#many.has(key)
  }

  get(key: number): Value | undefined {
    if (this.#many !== undefined) return this.#many.get(key)
    const place = this.#placeOf(key)
    if (place === 0) return undefined
    return place === 1 ? this.#one : this.#two
  }

  set(key: number, value: Value): void {
    if (this.#many !== undefined) return void this.#many.set(key, value)
    let place = this.#placeOf(key)
    if (place === 0) {
      if (this.#count === 2) return this.#spill(key, value)
      this.#count += 1
      place = this.#count
    }
    if (place === 1) {
      this.#oneKey = key
      this.#one = value
    } else {
      this.#twoKey = key
      this.#two = value
    }
  }

  delete(key: number): boolean {
    if (this.#many !== undefined) {
      const isThere = this.#many.delete(key)
      if (this.#many.size === 0) this.#many = undefined
      return isThere
    }
    const place = this.#placeOf(key)
    if (place === 0) return false
    if (place === 1) {
      this.#oneKey = this.#twoKey
      this.#one = this.#two
    }
    this.#two = undefined
    this.#count -= 1
    return true
  }

  /** As they are now: the map may be changed meanwhile. */
  keys(): number[] {
    if (this.#many !== undefined) return [...this.#many.keys()]
    return [this.#oneKey, this.#twoKey].slice(0, this.#count)
  }

  /** As they are now: the map may be changed meanwhile. */
  values(): Value[] {
    if (this.#many !== undefined) return [...this.#many.values()]
    return [this.#one, this.#two].slice(0, this.#count) as Value[]
  }

  /** 1 or 2; 0 where there is none. */
  #placeOf(key: number): number {
    if (this.#count > 0 && this.#oneKey === key) return 1
    return this.#count > 1 && this.#twoKey === key ? 2 : 0
  }

  #spill(key: number, value: Value): void {
    this.#many = new Map([
      [this.#oneKey, this.#one as Value],
      [this.#twoKey, this.#two as Value],
      [key, value],
    ])
    this.#one = undefined
    this.#two = undefined
    this.#count = 0
  }
}
