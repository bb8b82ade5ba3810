import type { Clock } from '../../base/clock.ts'
import { isHearthError } from '../../base/errors.ts'
import { type ContextDetail, contextDetail, setPinned } from '../../context-sharing/history/context-detail.ts'
import type { ContextSharing } from '../../context-sharing/context-sharing.ts'
import type { ContextStore } from '../../context-sharing/store/context-store.ts'
import type { DecisionLog } from '../../context-sharing/history/decisions.ts'
import type { FetchProgress, FetchResult } from '../../context-sharing/download/fetch.ts'
import type { ScrubProgress } from '../../context-sharing/upkeep/scrubber.ts'
import type { ContextPreparer } from './context-preparer.ts'
import { resolveContext } from './resolve-context.ts'
import type { SwarmView } from './swarm-view.ts'

/** How long a context's name is looked for among the peers, ms. */
const RESOLVE_MS = 5_000

export interface ContextCareComponents {
  clock: Clock
  store: ContextStore
  sharing: ContextSharing
  decisions: DecisionLog
  preparer: ContextPreparer
  view: SwarmView
}

/** The owner's operations on contexts, by name or id: get, show, pin, remove, scrub. */
export class ContextCare {
  readonly #components: ContextCareComponents

  constructor(components: ContextCareComponents) {
    this.#components = components
  }

  /** Makes a context stored. Throws `context-unknown` for a name that nobody has, or as a fetch does. */
  async get(
    nameOrId: string,
    options: { signal: AbortSignal; onProgress: (progress: FetchProgress) => void },
  ): Promise<FetchResult> {
    const { sharing, preparer } = this.#components
    const contextId = await this.#resolve(nameOrId, options.signal)
    const result = await sharing.fetch(contextId, options)
    await preparer.takeName(contextId)
    return result
  }

  show(nameOrId: string): ContextDetail {
    const { store, decisions } = this.#components
    const contextId = store.resolve(nameOrId)
    return contextDetail(store, contextId, decisions.of(contextId))
  }

  async pin(nameOrId: string, isPinned: boolean): Promise<ContextDetail> {
    const { store, decisions } = this.#components
    const contextId = store.resolve(nameOrId)
    await setPinned(store, contextId, isPinned)
    const code = isPinned ? 'pinned' : 'unpinned'
    decisions.note({ contextId, by: 'store', code, words: `"hearth context ${isPinned ? 'pin' : 'unpin'}"` })
    return contextDetail(store, contextId, decisions.of(contextId))
  }

  /** Gives a context that is here a name. Throws `context-unknown`, or `context-invalid` for no name. */
  async name(nameOrId: string, name: string): Promise<ContextDetail> {
    const { store, decisions } = this.#components
    const contextId = store.resolve(nameOrId)
    await store.setName(name, contextId)
    return contextDetail(store, contextId, decisions.of(contextId))
  }

  async remove(nameOrId: string, options: { force: boolean }): Promise<string> {
    const { store, sharing } = this.#components
    const contextId = store.resolve(nameOrId)
    await sharing.remove(contextId, options)
    return contextId
  }

  /** Without a name, all contexts. */
  async scrub(
    nameOrId: string | undefined,
    options: { signal: AbortSignal; onProgress: (progress: ScrubProgress) => void },
  ): Promise<ScrubProgress> {
    const { store, sharing } = this.#components
    const all = store.list().map(({ contextId }) => contextId)
    return await sharing.scrub(nameOrId === undefined ? all : [store.resolve(nameOrId)], options)
  }

  async #resolve(nameOrId: string, signal: AbortSignal): Promise<string> {
    const { clock, store, view } = this.#components
    try {
      return store.resolve(nameOrId)
    } catch (error) {
      if (!isHearthError(error, 'context-unknown')) throw error
      return await resolveContext(clock, view, { name: nameOrId, known: undefined }, RESOLVE_MS, signal)
    }
  }
}
