import type { Random } from '../../../base/random.ts'
import { randomInteger } from '../../../base/random.ts'

/** A fetcher is shown this many chunks ahead of what it is sent, or what it was sent in the last second. */
const AHEAD_MIN = 3
const AHEAD_MAX = 64
const RATE_MEMORY_MS = 1000
/** A chunk that was shown to one fetcher alone, who does not ask for it, is shown to others after this, ms. */
const UNASKED_MS_MAX = 10_000

/** A chunk that was shown to one fetcher alone and is not sent yet. */
interface Shown {
  sinceMs: number
  isAsked: boolean
}

interface Fetcher {
  shown: Map<number, Shown>
  /** Chunks sent to it of late; each counts for less with time. */
  sentLately: number
  lastSentMs: number
  /** It let a chunk pass that was kept for it: nothing more is, until it is sent something. */
  isIdle: boolean
}

/**
 * Decides which chunks a full holder shows to which fetcher. Each fetcher sees chunks that no other has seen, so
 * that every chunk leaves once before any leaves twice: what the others want of it they get from
 * the one that has it. A holder with a thin uplink sends the context little more than once, however many
 * fetch it; and one that dies after that leaves all of it behind. (BitTorrent's super-seeding, with a
 * window instead of one piece.) When every chunk is out, everything is shown to all.
 */
export class ReleasePlan {
  /** Chunks that nobody was shown, or is known to have; in no order. */
  readonly #fresh: number[]
  /** For each of them, its place in there; −1 for the others. */
  readonly #places: Int32Array
  readonly #fetchers = new Map<string, Fetcher>()
  /** Chunks shown to one fetcher and not sent yet, with that fetcher. */
  readonly #keeper = new Map<number, string>()

  constructor(chunkCount: number) {
    this.#fresh = Array.from({ length: chunkCount }, (_value, chunk) => chunk)
    this.#places = Int32Array.from(this.#fresh)
  }

  /** Whether every chunk is with somebody else, so that nothing need be kept back. */
  get isOver(): boolean {
    return this.#fresh.length === 0 && this.#keeper.size === 0
  }

  join(fetcher: string, nowMs: number): void {
    this.#fetchers.set(fetcher, { shown: new Map(), sentLately: 0, lastSentMs: nowMs, isIdle: false })
  }

  /** Releases the chunks that were kept for a fetcher. */
  leave(fetcher: string): void {
    for (const chunk of this.#fetchers.get(fetcher)?.shown.keys() ?? []) this.#refresh(chunk)
    this.#fetchers.delete(fetcher)
  }

  /** The fetcher asks for chunks: those kept for it wait for it as long as it takes. */
  asked(fetcher: string, chunks: Iterable<number>): void {
    for (const chunk of chunks) {
      const shown = this.#fetchers.get(fetcher)?.shown.get(chunk)
      if (shown !== undefined) shown.isAsked = true
    }
  }

  /** The fetcher does not ask for them any more. */
  cancelled(fetcher: string, chunks: Iterable<number>, nowMs: number): void {
    for (const chunk of chunks) {
      const shown = this.#fetchers.get(fetcher)?.shown.get(chunk)
      if (shown === undefined) continue
      shown.isAsked = false
      shown.sinceMs = nowMs
    }
  }

  sent(fetcher: string, chunk: number, nowMs: number): void {
    this.#out(chunk)
    const to = this.#fetchers.get(fetcher)
    if (to === undefined) return
    to.sentLately = 1 + sentLately(to, nowMs)
    to.lastSentMs = nowMs
    to.isIdle = false
  }

  /** Another peer already has these chunks. */
  held(chunks: Iterable<number>): void {
    for (const chunk of chunks) this.#out(chunk)
  }

  /** Takes and returns what the fetcher is to be shown now. */
  show(fetcher: string, nowMs: number, random: Random): number[] {
    const to = this.#fetchers.get(fetcher)
    if (to === undefined || to.isIdle) return []
    const ahead = Math.min(AHEAD_MAX, Math.max(AHEAD_MIN, Math.ceil(sentLately(to, nowMs))))
    const chunks: number[] = []
    while (to.shown.size < ahead && this.#fresh.length > 0) {
      const chunk = this.#fresh[randomInteger(random, this.#fresh.length)] ?? 0
      this.#take(chunk)
      this.#keeper.set(chunk, fetcher)
      to.shown.set(chunk, { sinceMs: nowMs, isAsked: false })
      chunks.push(chunk)
    }
    return chunks
  }

  /** Gives up on fetchers that do not ask for what is kept for them. */
  expire(nowMs: number): void {
    for (const fetcher of this.#fetchers.values()) {
      for (const [chunk, { sinceMs, isAsked }] of fetcher.shown) {
        if (isAsked || nowMs - sinceMs < UNASKED_MS_MAX) continue
        fetcher.isIdle = true
        fetcher.shown.delete(chunk)
        this.#refresh(chunk)
      }
    }
  }

  #out(chunk: number): void {
    this.#take(chunk)
    const keeper = this.#keeper.get(chunk)
    if (keeper === undefined) return
    this.#keeper.delete(chunk)
    this.#fetchers.get(keeper)?.shown.delete(chunk)
  }

  #take(chunk: number): void {
    const place = this.#places[chunk] ?? -1
    if (place < 0) return
    const last = this.#fresh.pop() ?? chunk
    if (last !== chunk) {
      this.#fresh[place] = last
      this.#places[last] = place
    }
    this.#places[chunk] = -1
  }

  #refresh(chunk: number): void {
    this.#keeper.delete(chunk)
    this.#places[chunk] = this.#fresh.push(chunk) - 1
  }
}

function sentLately({ sentLately, lastSentMs }: Fetcher, nowMs: number): number {
  return sentLately * Math.exp((lastSentMs - nowMs) / RATE_MEMORY_MS)
}
