import { invariant } from '../../../base/invariants.ts'
import { paysBack, readyMs, type ReadyDefaults, type ReadyFacts } from './ready-cost.ts'

/** The facts about a peer without a link that decide its place in the order. */
export interface Recruit extends ReadyFacts {
  readonly peer: string
  accepts: boolean
  /** Measured on the job's context, all its slots together. */
  tokensPerSecond?: number | undefined
  failures: number
  retryAtMs: number
  /** Drawn, in [0, 1). */
  readonly lot: number
}

export interface RecruitWish {
  nowMs: number
  /** How long the rest of the job takes, and one request. */
  projectedMs: number
  requestMs: number
  /** Whether any peer has a part of the context, so that others can fetch it. */
  mayFetch: boolean
  /** Largest number of peers to return. */
  room: number
}

/**
 * Peers without a link that accept work: those that are ready soonest first, of equal ones those that failed
 * least, then the fastest, then by lot. Those that are to be tried again later wait beside. It is kept in order
 * while they come and go, so that a link that is lost costs no look at all of them. Pure data.
 */
export class RecruitOrder {
  #usual: ReadyDefaults
  readonly #ready: Recruit[] = []
  readonly #waiting: Recruit[] = []
  /** When the first waiting peer may be tried, by the last choice; infinite when none waits. */
  retryAtMs: number = Infinity

  constructor(usual: ReadyDefaults) {
    this.#usual = usual
  }

  /** Values for fields that peers do not report. */
  suppose(usual: ReadyDefaults): void {
    const { loadMs, fetchBytesPerSecond, bytes } = this.#usual
    if (usual.loadMs === loadMs && usual.fetchBytesPerSecond === fetchBytesPerSecond && usual.bytes === bytes)
      return
    this.#usual = usual
    this.#ready.sort((one, other) => this.#compare(one, other))
  }

  add(recruit: Recruit): void {
    if (!recruit.accepts) return
    if (recruit.retryAtMs > 0) this.#waiting.push(recruit)
    else this.#insert(recruit)
  }

  /** Call this before a field of the peer changes. */
  delete(recruit: Recruit): void {
    if (!recruit.accepts) return
    const wasThere = remove(this.#waiting, recruit) || remove(this.#ready, recruit)
    invariant(wasThere, 'a peer that accepts work is in the order', { peer: recruit.peer })
  }

  /** Throws `internal` unless these, as far as they accept work, are those that are in order. */
  check(recruits: Iterable<Recruit>): void {
    const here = new Set([...this.#waiting, ...this.#ready])
    const size = this.#waiting.length + this.#ready.length
    let accepting = 0
    for (const recruit of recruits) {
      if (!recruit.accepts) continue
      accepting += 1
      invariant(here.has(recruit), 'a peer that accepts work is in the order', { peer: recruit.peer })
    }
    invariant(size === accepting, 'the order has each peer once', { size, accepting })
    for (const [place, recruit] of this.#ready.entries()) {
      const next = this.#ready[place + 1]
      const isInOrder = next === undefined || this.#compare(recruit, next) <= 0
      invariant(isInOrder, 'peers are in order', { peer: recruit.peer, next: next?.peer })
    }
  }

  /** The first peers whose expected answers outweigh the cost of making them ready. */
  choose({ nowMs, projectedMs, requestMs, mayFetch, room }: RecruitWish): Recruit[] {
    this.#wake(nowMs, mayFetch)
    const chosen: Recruit[] = []
    for (const recruit of this.#ready) {
      if (chosen.length >= room) break
      if (!mayFetch && recruit.tier === 'absent') continue
      if (!paysBack(readyMs(recruit, this.#usual), requestMs, projectedMs)) break
      chosen.push(recruit)
    }
    return chosen
  }

  /** Moves peers whose wait is over into the order. */
  #wake(nowMs: number, mayFetch: boolean): void {
    this.retryAtMs = Infinity
    for (let at = 0; at < this.#waiting.length;) {
      const recruit = this.#waiting[at] as Recruit
      if (nowMs >= recruit.retryAtMs) {
        this.#waiting.splice(at, 1)
        this.#insert(recruit)
        continue
      }
      if (mayFetch || recruit.tier !== 'absent') this.retryAtMs = Math.min(this.retryAtMs, recruit.retryAtMs)
      at += 1
    }
  }

  #insert(recruit: Recruit): void {
    let low = 0
    let high = this.#ready.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#compare(recruit, this.#ready[middle] as Recruit) < 0) high = middle
      else low = middle + 1
    }
    this.#ready.splice(low, 0, recruit)
  }

  #compare(one: Recruit, other: Recruit): number {
    return (
      readyMs(one, this.#usual) - readyMs(other, this.#usual) ||
      one.failures - other.failures ||
      (other.tokensPerSecond ?? 0) - (one.tokensPerSecond ?? 0) ||
      one.lot - other.lot
    )
  }
}

function remove<Item>(items: Item[], item: Item): boolean {
  const place = items.indexOf(item)
  if (place < 0) return false
  items.splice(place, 1)
  return true
}
