import { impossible, invariant, present } from '../../../base/invariants.ts'
import { FETCH_CLAIMS_MAX, FETCH_SOURCES_MAX } from '../../../base/limits.ts'
import { type Random, randomInteger } from '../../../base/random.ts'

/** How long another peer's claim counts, ms: the chunk should be with it by then. */
const CLAIM_MS = 10_000
/** More claims on one chunk than this make no difference. */
const CLAIMS_COUNTED_MAX = 3

const UNWANTED = 0
/** Wanted, and not requested. */
const WAITING = 1
/** Requested from at least one source. */
const TAKEN = 2

/** Chunks with the same holders (one bit per source slot) and claims: all are equally rare. */
interface Group {
  mask: number
  rarity: number
  chunks: number[]
}

/**
 * The wanted chunks of a fetch and their sources. Waiting chunks are grouped by the set of sources
 * that have them: with at most 8 sources there are few groups, so that the rarest chunk a source can
 * give is found without looking at the chunks one by one.
 */
export class ChunkPool {
  readonly #state: Uint8Array
  /** For each chunk, the slots of the sources that have it. */
  readonly #masks: Uint8Array
  /** For each waiting chunk, its place in its group. */
  readonly #places: Uint32Array
  readonly #groups = new Map<number, Group>()
  /** Claims of other peers: until when each counts. */
  readonly #claims = new Map<number, number[]>()
  #waiting = 0
  #wanted = 0

  constructor(chunkCount: number, wanted: Iterable<number>) {
    this.#state = new Uint8Array(chunkCount)
    this.#masks = new Uint8Array(chunkCount)
    this.#places = new Uint32Array(chunkCount)
    for (const chunk of wanted) {
      if (chunk >= chunkCount || this.isWanted(chunk)) throw new RangeError(`chunk ${chunk} wanted`)
      this.#wanted += 1
      this.#wait(chunk)
    }
  }

  get chunkCount(): number {
    return this.#state.length
  }

  /** Missing chunks. */
  get wantedCount(): number {
    return this.#wanted
  }

  /** Missing chunks that are not requested. */
  get waitingCount(): number {
    return this.#waiting
  }

  /** Also for a number that is no chunk: peers may name any. */
  isWanted(chunk: number): boolean {
    return (this.#state[chunk] ?? UNWANTED) !== UNWANTED
  }

  isWaiting(chunk: number): boolean {
    return this.#state[chunk] === WAITING
  }

  isTaken(chunk: number): boolean {
    return this.#state[chunk] === TAKEN
  }

  /** The slots of the sources that have `chunk`, one bit each. Throws `internal` for a number that is no chunk. */
  holdersOf(chunk: number): number {
    return present(this.#masks[chunk], 'a chunk is one of the pool', { chunk, chunks: this.chunkCount })
  }

  /** Says that the source in `slot` has `chunk`. */
  add(slot: number, chunk: number): void {
    this.#setMask(chunk, this.holdersOf(chunk) | (1 << slot))
  }

  /** Says that the source in `slot` does not have `chunk`. */
  remove(slot: number, chunk: number): void {
    this.#setMask(chunk, this.holdersOf(chunk) & ~(1 << slot))
  }

  /** Says that the source in `slot` is gone. */
  clear(slot: number): void {
    for (let chunk = 0; chunk < this.chunkCount; chunk += 1) {
      if ((this.holdersOf(chunk) & (1 << slot)) !== 0) this.remove(slot, chunk)
    }
  }

  /** Whether the source in `slot` has a waiting chunk. */
  canGive(slot: number): boolean {
    for (const { mask } of this.#groups.values()) if ((mask & (1 << slot)) !== 0) return true
    return false
  }

  /** Whether the source in `slot` is the only one with some waiting chunk. */
  needs(slot: number): boolean {
    for (const { mask } of this.#groups.values()) if (mask === 1 << slot) return true
    return false
  }

  /** Takes the rarest waiting chunk that the source in `slot` has; equally rare ones are equally likely. */
  take(slot: number, random: Random): number | undefined {
    let rarity = Number.POSITIVE_INFINITY
    let rarest: Group[] = []
    for (const group of this.#groups.values()) {
      if ((group.mask & (1 << slot)) === 0 || group.rarity > rarity) continue
      if (group.rarity < rarity) rarest = []
      rarity = group.rarity
      rarest.push(group)
    }
    const chunk = pickFrom(rarest, random)
    if (chunk === undefined) return undefined
    this.#leaveGroup(chunk)
    this.#state[chunk] = TAKEN
    return chunk
  }

  /** Makes a taken chunk wait again. */
  release(chunk: number): void {
    invariant(this.isTaken(chunk), 'only a chunk that is asked of somebody waits again', { chunk })
    this.#wait(chunk)
  }

  /** Says that a wanted chunk is here. */
  hold(chunk: number): void {
    invariant(this.isWanted(chunk), 'a chunk comes to be here once', { chunk })
    if (this.isWaiting(chunk)) this.#leaveGroup(chunk)
    this.#state[chunk] = UNWANTED
    this.#wanted -= 1
  }

  /** Notes that another peer is receiving `chunk` and will soon hold it. */
  claim(chunk: number, nowMs: number): void {
    if (!this.isWanted(chunk) || (this.#claims.size >= FETCH_CLAIMS_MAX && !this.#claims.has(chunk))) return
    const claims = this.#claims.get(chunk) ?? []
    if (claims.length >= CLAIMS_COUNTED_MAX) return
    this.#regroup(chunk, () => this.#claims.set(chunk, [...claims, nowMs + CLAIM_MS]))
  }

  /** Forgets expired claims. */
  expireClaims(nowMs: number): void {
    for (const [chunk, claims] of this.#claims) {
      const left = claims.filter((untilMs) => untilMs > nowMs)
      if (left.length === claims.length) continue
      this.#regroup(chunk, () => {
        if (left.length === 0) this.#claims.delete(chunk)
        else this.#claims.set(chunk, left)
      })
    }
  }

  /** Throws `internal` unless the groups and counts say of each chunk what its state and holders say. */
  check(): void {
    let wanted = 0
    let waiting = 0
    for (let chunk = 0; chunk < this.chunkCount; chunk += 1) {
      if (this.isWanted(chunk)) wanted += 1
      if (!this.isWaiting(chunk)) continue
      waiting += 1
      const group = this.#groups.get(this.#keyOf(chunk))
      const isThere = group?.chunks[this.#places[chunk] ?? -1] === chunk
      invariant(isThere, 'a waiting chunk is in its group', { chunk })
      const isRight = group.mask === this.holdersOf(chunk) && group.rarity === this.#rarityOf(chunk)
      invariant(isRight, 'a group has the holders and rarity of its chunks', { chunk })
    }
    let grouped = 0
    for (const { chunks } of this.#groups.values()) grouped += chunks.length
    const counts = { wanted, waiting, grouped, wantedCount: this.#wanted, waitingCount: this.#waiting }
    invariant(wanted === this.#wanted && waiting === this.#waiting, 'the pool counts its chunks', counts)
    invariant(grouped === waiting, 'only waiting chunks are in groups', counts)
    invariant(this.#claims.size <= FETCH_CLAIMS_MAX, 'claims are bounded', { claims: this.#claims.size })
  }

  #setMask(chunk: number, mask: number): void {
    if (this.#masks[chunk] === mask) return
    this.#regroup(chunk, () => {
      this.#masks[chunk] = mask
    })
  }

  #regroup(chunk: number, change: () => unknown): void {
    const isWaiting = this.isWaiting(chunk)
    if (isWaiting) this.#leaveGroup(chunk)
    change()
    if (isWaiting) this.#wait(chunk)
  }

  #wait(chunk: number): void {
    const key = this.#keyOf(chunk)
    let group = this.#groups.get(key)
    if (group === undefined) {
      group = { mask: this.holdersOf(chunk), rarity: this.#rarityOf(chunk), chunks: [] }
      this.#groups.set(key, group)
    }
    this.#places[chunk] = group.chunks.push(chunk) - 1
    this.#state[chunk] = WAITING
    this.#waiting += 1
  }

  #leaveGroup(chunk: number): void {
    const key = this.#keyOf(chunk)
    const { chunks } = present(this.#groups.get(key), 'a waiting chunk is in its group', { chunk, key })
    const place = present(this.#places[chunk], 'a chunk is one of the pool', { chunk })
    invariant(chunks[place] === chunk, 'a waiting chunk is at its place', { chunk, place })
    const last = present(chunks.pop(), 'a group has chunks', { key })
    if (last !== chunk) {
      chunks[place] = last
      this.#places[last] = place
    }
    if (chunks.length === 0) this.#groups.delete(key)
    this.#waiting -= 1
  }

  #keyOf(chunk: number): number {
    return this.holdersOf(chunk) + (this.#claimsOf(chunk) << FETCH_SOURCES_MAX)
  }

  #rarityOf(chunk: number): number {
    return bitsIn(this.holdersOf(chunk)) + this.#claimsOf(chunk)
  }

  #claimsOf(chunk: number): number {
    return this.#claims.get(chunk)?.length ?? 0
  }
}

function pickFrom(groups: readonly Group[], random: Random): number | undefined {
  const total = groups.reduce((sum, { chunks }) => sum + chunks.length, 0)
  if (total === 0) return undefined
  let left = randomInteger(random, total)
  for (const { chunks } of groups) {
    if (left < chunks.length) return chunks[left]
    left -= chunks.length
  }
  throw impossible('a number below the sum falls into one of the groups', { total })
}

function bitsIn(mask: number): number {
  let count = 0
  for (let left = mask; left !== 0; left &= left - 1) count += 1
  return count
}
