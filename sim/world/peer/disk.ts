import { planCollection, type Holding } from '../../../src/context-sharing/upkeep/core/collection.ts'
import type { Host } from '../swarm/host.ts'
import type { Swarm } from '../swarm/swarm.ts'

/** Whose disk it is. */
export interface DiskOwner {
  readonly host: Host
  /** Why a context cannot go now; undefined when it can. */
  whyInUse(context: number): string | undefined
  /** Other peers that are known to hold all of it. */
  othersOf(context: number): number
  discard(context: number): void
}

/** The room on one peer's disk: what is worth least goes first, as in context-sharing/collector.ts. */
export class Disk {
  readonly quotaBytes: number
  readonly #world: Pick<Swarm, 'contextBytes' | 'contextId'>
  readonly #owner: DiskOwner
  #usedAtMs: Map<number, number> | undefined

  constructor(world: Pick<Swarm, 'contextBytes' | 'contextId'>, owner: DiskOwner, quotaBytes: number) {
    this.#world = world
    this.#owner = owner
    this.quotaBytes = quotaBytes
  }

  /** A context counts as a whole as soon as something of it is here, or is to come. */
  get usedBytes(): number {
    return this.#owner.host.shelves.size * this.#world.contextBytes
  }

  get hasRoom(): boolean {
    return this.usedBytes + this.#world.contextBytes <= this.quotaBytes
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
    const numbers = new Map(
      [...this.#owner.host.shelves.keys()].map((one) => [this.#world.contextId(one), one]),
    )
    for (const { contextId } of candidates) {
      this.#owner.discard(numbers.get(contextId) as number)
      if (this.hasRoom) return true
    }
    return false
  }

  #holdings(): Holding[] {
    const { contextBytes } = this.#world
    return [...this.#owner.host.shelves].map(([context, { isWhole, chunks }]) => ({
      contextId: this.#world.contextId(context),
      isWhole,
      files: [{ key: this.#world.contextId(context), bytes: (contextBytes * chunks.count) / chunks.size }],
      isPinned: false,
      use: this.#owner.whyInUse(context),
      usedAtMs: this.#usedAtMs?.get(context) ?? 0,
      replicas: this.#owner.othersOf(context),
    }))
  }
}
