// Which contexts are loaded on this peer, and by whom they are used.
import { HearthError } from '../base/errors.ts'
import type { EngineHost, EngineHostFacts, EngineHostOptions } from './engine-host.ts'

export interface WarmContextsComponents {
  /** Makes the host of one context; it is not started yet. */
  makeHost: (options: EngineHostOptions) => EngineHost
}

export interface WarmContextsOptions {
  /** Contexts loaded at once. The least recently used idle one makes room. */
  contextsMax: number
  /** Given to every host. */
  host: Omit<EngineHostOptions, 'folder'>
}

/** A use of a loaded context. Until it is released, the context is not evicted for another. */
export interface ContextLease {
  readonly contextId: string
  readonly host: EngineHost
  readonly facts: EngineHostFacts
  /** Ends the use; the context stays warm. A second call does nothing. */
  release(): void
}

export interface WarmContext {
  contextId: string
  /** `isReady` is false while it loads, and after its process died until a run starts the next one. */
  isReady: boolean
  /** Leases that have not been released. */
  uses: number
  facts: EngineHostFacts | undefined
}

interface Entry {
  contextId: string
  host: EngineHost
  uses: number
}

export class WarmContexts {
  readonly #makeHost: WarmContextsComponents['makeHost']
  readonly #options: WarmContextsOptions
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>()

  constructor(components: WarmContextsComponents, options: WarmContextsOptions) {
    if (!(options.contextsMax >= 1)) {
      throw new RangeError(`contextsMax must be at least 1, got ${options.contextsMax}`)
    }
    this.#makeHost = components.makeHost
    this.#options = options
  }

  /** The contexts that are loaded or loading, least recently used first. */
  list(): WarmContext[] {
    return [...this.#entries.values()].map(({ contextId, host, uses }) => ({
      contextId,
      isReady: host.facts !== undefined,
      uses,
      facts: host.facts,
    }))
  }

  /**
   * The context loaded, and held until released; callers at the same time share one load. Makes room by
   * evicting an idle context. Throws `limit-reached` when all are in use, what loading throws
   * (`context-invalid`, `model-unsupported`, `engine-failed`), or the signal's reason.
   */
  async acquire(
    contextId: string,
    folder: string,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<ContextLease> {
    options.signal?.throwIfAborted()
    const entry = this.#touch(contextId) ?? (await this.#add(contextId, folder))
    entry.uses += 1
    try {
      const facts = await entry.host.start(options)
      return this.#lease(entry, facts)
    } catch (error) {
      entry.uses -= 1
      if (entry.uses === 0 && entry.host.facts === undefined) await this.#remove(entry)
      throw error
    }
  }

  /** Unloads a context, whoever uses it; its memory is back when this resolves. False when it was not loaded. */
  async evict(contextId: string): Promise<boolean> {
    const entry = this.#entries.get(contextId)
    if (entry === undefined) return false
    await this.#remove(entry)
    return true
  }

  /** Unloads everything. */
  async stop(): Promise<void> {
    await Promise.all([...this.#entries.values()].map((entry) => this.#remove(entry)))
  }

  #lease(entry: Entry, facts: EngineHostFacts): ContextLease {
    let isHeld = true
    return {
      contextId: entry.contextId,
      host: entry.host,
      facts,
      release() {
        if (isHeld) entry.uses -= 1
        isHeld = false
      },
    }
  }

  #touch(contextId: string): Entry | undefined {
    const entry = this.#entries.get(contextId)
    if (entry === undefined) return undefined
    this.#entries.delete(contextId)
    this.#entries.set(contextId, entry)
    return entry
  }

  async #add(contextId: string, folder: string): Promise<Entry> {
    const evicted = this.#entries.size < this.#options.contextsMax ? undefined : this.#leastRecentIdle()
    const entry = { contextId, uses: 0, host: this.#makeHost({ ...this.#options.host, folder }) }
    this.#entries.set(contextId, entry)
    // The place is taken first, so that a second caller shares it while the old context leaves.
    if (evicted !== undefined) await this.#remove(evicted)
    return entry
  }

  #leastRecentIdle(): Entry {
    for (const entry of this.#entries.values()) {
      if (entry.uses === 0) return entry
    }
    throw new HearthError('limit-reached', `all ${this.#entries.size} loaded contexts are in use`)
  }

  async #remove(entry: Entry): Promise<void> {
    if (this.#entries.get(entry.contextId) === entry) this.#entries.delete(entry.contextId)
    await entry.host.stop()
  }
}
