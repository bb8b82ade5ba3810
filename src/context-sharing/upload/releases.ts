import { type Cancel, type Clock, every } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import { Bitfield } from '../content/bitfield.ts'
import type { HeldContext } from '../store/held-context.ts'
import { ReleasePlan } from './core/release.ts'
import { RELEASE_LOOK_EVERY_MS } from './timings.ts'

export interface ReleasesComponents {
  clock: Clock
  random: Random
}

/** One fetcher of a context that is released chunk by chunk. */
export interface Release {
  /** The chunks that it is offered when it opens the context. */
  readonly shown: Bitfield
  asked(chunks: readonly number[]): void
  cancelled(chunks: readonly number[]): void
  sent(chunk: number): void
  held(chunks: Iterable<number>): void
  end(): void
}

interface Released {
  plan: ReleasePlan
  /** How each fetcher is told of chunks, and those that it was not told of. */
  fetchers: Map<string, { tell: (chunks: number[]) => void; hidden: Set<number> }>
}

/** The shell of release plans: one for each context that this peer has all of, and others fetch. */
export class Releases {
  readonly #components: ReleasesComponents
  readonly #contexts = new Map<string, Released>()
  #sessions = 0
  #cancelLook: Cancel = () => {}

  constructor(components: ReleasesComponents) {
    this.#components = components
  }

  start(): void {
    this.#cancelLook = every(this.#components.clock, RELEASE_LOOK_EVERY_MS, () => this.#look())
  }

  stop(): void {
    this.#cancelLook()
  }

  /** Undefined when everything is shown at once: the context is not all here. */
  begin({ contextId, held }: HeldContext, tell: (chunks: number[]) => void): Release | undefined {
    if (!held.isFull || held.size === 0) return undefined
    const { clock } = this.#components
    const id = String((this.#sessions += 1))
    const released = this.#contexts.get(contextId) ?? {
      plan: new ReleasePlan(held.size),
      fetchers: new Map(),
    }
    this.#contexts.set(contextId, released)
    const { plan, fetchers } = released
    const fetcher = { tell, hidden: plan.isOver ? new Set<number>() : new Set(held) }
    const shown = plan.isOver ? held : new Bitfield(held.size)
    plan.join(id, clock.nowMs())
    for (const chunk of this.#next(plan, id, fetcher.hidden)) shown.add(chunk)
    fetchers.set(id, fetcher)
    return {
      shown,
      asked: (chunks) => plan.asked(id, chunks),
      cancelled: (chunks) => plan.cancelled(id, chunks, clock.nowMs()),
      sent: (chunk) => {
        plan.sent(id, chunk, clock.nowMs())
        this.#tell(released, id)
      },
      held: (chunks) => {
        plan.held(chunks)
        this.#tell(released, id)
      },
      end: () => {
        plan.leave(id)
        fetchers.delete(id)
        if (fetchers.size === 0) this.#contexts.delete(contextId)
      },
    }
  }

  #look(): void {
    for (const released of this.#contexts.values()) {
      if (released.plan.isOver) continue
      released.plan.expire(this.#components.clock.nowMs())
      for (const id of released.fetchers.keys()) this.#tell(released, id)
    }
  }

  #tell({ plan, fetchers }: Released, id: string): void {
    if (plan.isOver) {
      for (const { tell, hidden } of fetchers.values()) {
        if (hidden.size > 0) tell([...hidden])
        hidden.clear()
      }
      return
    }
    const fetcher = fetchers.get(id)
    if (fetcher === undefined) return
    const chunks = this.#next(plan, id, fetcher.hidden)
    if (chunks.length > 0) fetcher.tell(chunks)
  }

  #next(plan: ReleasePlan, id: string, hidden: Set<number>): number[] {
    const { clock, random } = this.#components
    const chunks = plan.show(id, clock.nowMs(), random)
    for (const chunk of chunks) hidden.delete(chunk)
    return chunks
  }
}
