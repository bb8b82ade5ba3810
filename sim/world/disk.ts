import { planCollection, type Holding } from '../../src/context-sharing/collection-core.ts'
import type { Host } from './host.ts'

export interface DiskParts {
  host: Host
  quotaBytes: number
  contextBytes: number
  nameOf: (context: number) => string
  /** Why a context cannot go now; undefined when it can. */
  whyInUse: (context: number) => string | undefined
  /** Other peers that are known to hold all of it. */
  othersOf: (context: number) => number
  discard: (context: number) => void
}

/** The room on one peer's disk: what is worth least goes first, as in context-sharing/collector.ts. */
export class Disk {
  readonly quotaBytes: number
  readonly #parts: DiskParts
  #usedAtMs: Map<number, number> | undefined

  constructor(parts: DiskParts) {
    this.quotaBytes = parts.quotaBytes
    this.#parts = parts
  }

  /** A context counts as a whole as soon as something of it is here, or is to come. */
  get usedBytes(): number {
    return this.#parts.host.shelves.size * this.#parts.contextBytes
  }

  get hasRoom(): boolean {
    return this.usedBytes + this.#parts.contextBytes <= this.quotaBytes
  }

  use(context: number, nowMs: number): void {
    if (this.quotaBytes === Number.POSITIVE_INFINITY) return
    this.#usedAtMs ??= new Map()
    this.#usedAtMs.set(context, nowMs)
  }

  /** Makes room for one context that is not here yet. Whether there is any. */
  makeRoom(nowMs: number): boolean {
    if (this.hasRoom) return true
    const { candidates } = planCollection(this.#holdings(), nowMs)
    const numbers = new Map([...this.#parts.host.shelves.keys()].map((one) => [this.#parts.nameOf(one), one]))
    for (const { contextId } of candidates) {
      this.#parts.discard(numbers.get(contextId) as number)
      if (this.hasRoom) return true
    }
    return false
  }

  #holdings(): Holding[] {
    const { host, contextBytes, nameOf, whyInUse, othersOf } = this.#parts
    return [...host.shelves].map(([context, { isWhole, chunks }]) => ({
      contextId: nameOf(context),
      isWhole,
      files: [{ key: nameOf(context), bytes: (contextBytes * chunks.count) / chunks.size }],
      isPinned: false,
      use: whyInUse(context),
      usedAtMs: this.#usedAtMs?.get(context) ?? 0,
      replicas: othersOf(context),
    }))
  }
}
