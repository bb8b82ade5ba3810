import type { Random } from '../../../src/base/random.ts'
import { Bitfield } from '../../../src/context-sharing/content/bitfield.ts'
import { ReleasePlan } from '../../../src/context-sharing/upload/core/release.ts'
import { RELEASE_LOOK_EVERY_MS } from '../../../src/context-sharing/upload/timings.ts'
import type { EventHandle, Kernel } from '../../kernel/kernel.ts'
import type { Upload } from './host-view.ts'
import { TAG } from '../events/tags.ts'

interface Shown {
  id: string
  /** The chunks that it was not told of. */
  hidden: Set<number>
}

interface Released {
  plan: ReleasePlan
  fetchers: Map<Upload, Shown>
}

/** Which chunks a host that has all of a context shows to whom: as context-sharing/releases.ts, on core/release. */
export class Releases {
  readonly #kernel: Kernel
  readonly #tag: number
  readonly #random: Random
  readonly #tell: (upload: Upload, chunks: number[]) => void
  readonly #contexts = new Map<number, Released>()
  #sessions = 0
  #look: EventHandle | undefined

  constructor(kernel: Kernel, tag: number, random: Random, tell: (upload: Upload, chunks: number[]) => void) {
    this.#kernel = kernel
    this.#tag = tag
    this.#random = random
    this.#tell = tell
  }

  /** Returns what the fetcher is shown at first, of a context of so many chunks that is all here. */
  begin(upload: Upload, chunkCount: number): Bitfield {
    const { context } = upload.fetch
    const released = this.#contexts.get(context) ?? {
      plan: new ReleasePlan(chunkCount),
      fetchers: new Map<Upload, Shown>(),
    }
    this.#contexts.set(context, released)
    const { plan, fetchers } = released
    const whole = Bitfield.full(chunkCount)
    const fetcher = { id: String((this.#sessions += 1)), hidden: new Set(plan.isOver ? [] : whole) }
    const shown = plan.isOver ? whole : new Bitfield(chunkCount)
    plan.join(fetcher.id, this.#kernel.nowMs)
    for (const chunk of this.#next(plan, fetcher)) shown.add(chunk)
    fetchers.set(upload, fetcher)
    this.#lookLater()
    return shown
  }

  asked(upload: Upload, chunks: readonly number[]): void {
    this.#with(upload, ({ plan }, { id }) => plan.asked(id, chunks))
  }

  cancelled(upload: Upload, chunks: readonly number[]): void {
    this.#with(upload, ({ plan }, { id }) => plan.cancelled(id, chunks, this.#kernel.nowMs))
  }

  sent(upload: Upload, chunk: number): void {
    this.#with(upload, (released, fetcher) => {
      released.plan.sent(fetcher.id, chunk, this.#kernel.nowMs)
      this.#show(released, upload, fetcher)
    })
  }

  /** The fetcher has these, wherever from. */
  held(upload: Upload, chunks: Iterable<number>): void {
    this.#with(upload, (released, fetcher) => {
      released.plan.held(chunks)
      this.#show(released, upload, fetcher)
    })
  }

  end(upload: Upload): void {
    this.#with(upload, ({ plan, fetchers }, { id }) => {
      plan.leave(id)
      fetchers.delete(upload)
      if (fetchers.size === 0) this.#contexts.delete(upload.fetch.context)
    })
  }

  /** Whether what the fetcher comes to hold matters to what others are shown. */
  isOpen(upload: Upload): boolean {
    const released = this.#contexts.get(upload.fetch.context)
    return released?.fetchers.has(upload) === true && !released.plan.isOver
  }

  #with(upload: Upload, act: (released: Released, fetcher: Shown) => void): void {
    const released = this.#contexts.get(upload.fetch.context)
    const fetcher = released?.fetchers.get(upload)
    if (released !== undefined && fetcher !== undefined) act(released, fetcher)
  }

  #show(released: Released, upload: Upload, fetcher: Shown): void {
    if (!released.plan.isOver) {
      const chunks = this.#next(released.plan, fetcher)
      if (chunks.length > 0) this.#tell(upload, chunks)
      return
    }
    for (const [other, { hidden }] of released.fetchers) {
      if (hidden.size > 0) this.#tell(other, [...hidden])
      hidden.clear()
    }
  }

  #next(plan: ReleasePlan, { id, hidden }: Shown): number[] {
    const chunks = plan.show(id, this.#kernel.nowMs, this.#random)
    for (const chunk of chunks) hidden.delete(chunk)
    return chunks
  }

  /** Looks for chunks that nobody asks for, while there is anything to be released. */
  #lookLater(): void {
    if (this.#look !== undefined) return
    this.#look = this.#kernel.after(1000 * RELEASE_LOOK_EVERY_MS, TAG.message + this.#tag, () => {
      this.#look = undefined
      let isOver = true
      for (const released of this.#contexts.values()) {
        if (released.plan.isOver) continue
        isOver = false
        released.plan.expire(this.#kernel.nowMs)
        for (const [upload, fetcher] of released.fetchers) this.#show(released, upload, fetcher)
      }
      if (!isOver) this.#lookLater()
    })
  }
}
