/** Where chance comes from. Cores get it as an argument, so that one seed replays one run. */
export interface Random {
  /** A number in [0, 1). */
  next(): number
}

/** An integer in [0, bound). `bound` must be at least 1. */
export function randomInteger(random: Random, bound: number): number {
  return Math.floor(random.next() * bound)
}

/** A number in [low, high). */
export function randomBetween(random: Random, low: number, high: number): number {
  return low + random.next() * (high - low)
}

/** One of `items`, each equally likely; undefined when there are none. */
export function pick<T>(random: Random, items: readonly T[]): T | undefined {
  return items[randomInteger(random, Math.max(1, items.length))]
}

/** Up to `count` of `items`, all equally likely, in any order. */
export function pickSome<T>(random: Random, items: readonly T[], count: number): T[] {
  const left = [...items]
  const picked: T[] = []
  while (picked.length < count && left.length > 0) {
    const index = randomInteger(random, left.length)
    picked.push(left[index] as T)
    left[index] = left.at(-1) as T
    left.pop()
  }
  return picked
}

/**
 * A seeded generator (SplitMix32: one 32-bit word of state, equidistributed over its period).
 * Not for secrets.
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  return {
    next() {
      state = (state + 0x9e3779b9) >>> 0
      let mixed = state ^ (state >>> 16)
      mixed = Math.imul(mixed, 0x21f0aaad)
      mixed ^= mixed >>> 15
      mixed = Math.imul(mixed, 0x735a2d97)
      return ((mixed ^ (mixed >>> 15)) >>> 0) / 0x1_0000_0000
    },
  }
}
