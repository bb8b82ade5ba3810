import type { Cancel, Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { ContextStore } from '../store/context-store.ts'
import type { HeldContext } from '../store/held-context.ts'
import { nextToScrub, scrubWaitMs, type ScrubFile } from './core/scrub.ts'

export interface ScrubProgress {
  /** Chunks read and hashed, and those to be. */
  chunksDone: number
  chunksTotal: number
  /** Corrupted chunks. */
  chunksBad: number
}

export interface ScrubberComponents {
  store: ContextStore
  clock: Clock
  log: Logger
}

/** A file, and a context through which its chunks are read. */
interface Place extends ScrubFile {
  context: HeldContext
  first: number
}

/**
 * Reads stored chunks and hashes them again, slowly for ever, or at once on request. A corrupted chunk is no longer
 * served: the store reports it (`onDamage`), and it is downloaded again.
 */
export class Scrubber {
  readonly #components: ScrubberComponents
  #cancel: Cancel = () => {}
  #isRunning = false

  constructor(components: ScrubberComponents) {
    this.#components = components
  }

  start(): void {
    this.#isRunning = true
    this.#waitForNext()
  }

  stop(): void {
    this.#isRunning = false
    this.#cancel()
  }

  /** Checks all held chunks of these contexts, now, one after another. */
  async run(
    contextIds: readonly string[],
    options: { signal?: AbortSignal; onProgress?: (progress: ScrubProgress) => void } = {},
  ): Promise<ScrubProgress> {
    const wanted = new Set(contextIds)
    const places = this.#places().filter(({ context }) => wanted.has(context.contextId))
    const chunksTotal = places.reduce((sum, place) => sum + heldOf(place).length, 0)
    const progress: ScrubProgress = { chunksDone: 0, chunksTotal, chunksBad: 0 }
    for (const place of places) {
      for (const chunk of heldOf(place)) {
        options.signal?.throwIfAborted()
        if (!(await place.context.check(chunk))) progress.chunksBad += 1
        progress.chunksDone += 1
        options.onProgress?.({ ...progress })
      }
    }
    return progress
  }

  #waitForNext(): void {
    const chunkCount = this.#places().reduce((sum, { chunks }) => sum + chunks, 0)
    this.#cancel = this.#components.clock.schedule(
      scrubWaitMs(chunkCount),
      () => {
        this.#scrubNext()
          .catch((error: unknown) => {
            this.#components.log.warn({ error: messageOf(error) }, 'a stored chunk is unreadable')
          })
          .finally(() => {
            if (this.#isRunning) this.#waitForNext()
          })
      },
      { background: true },
    )
  }

  async #scrubNext(): Promise<void> {
    const { memory } = this.#components.store
    const places = this.#places()
    const next = nextToScrub(places, memory.scrub)
    const place = places.find(({ key }) => key === next?.file.key)
    if (next === undefined || place === undefined) return
    memory.setScrub({ file: place.key, chunk: next.chunk + 1 })
    await place.context.check(place.first + next.chunk)
  }

  /** Every file once, however many contexts have it, ordered by key. */
  #places(): Place[] {
    const places = new Map<string, Place>()
    const { store } = this.#components
    for (const { contextId } of store.list()) {
      const context = store.held(contextId)
      for (const [number, key] of context?.gridKeys().entries() ?? []) {
        if (context === undefined || places.has(key)) continue
        const { first, count } = context.map.ofFile(number)
        places.set(key, { key, chunks: count, context, first })
      }
    }
    return [...places.values()].sort((left, right) => (left.key < right.key ? -1 : 1))
  }
}

function heldOf({ context, first, chunks }: Place): number[] {
  const numbers = Array.from({ length: chunks }, (_value, index) => first + index)
  return numbers.filter((chunk) => context.held.has(chunk))
}
