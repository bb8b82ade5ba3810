// The contexts that are loaded on this peer, and who uses them: the shell of residency-core.ts.
import type { Clock } from '../base/clock.ts'
import { HearthError } from '../base/errors.ts'
import { systemClock } from '../base/system-clock.ts'
import { estimateMemoryBytes } from './context-folder.ts'
import type { EngineHost, EngineHostFacts, EngineHostOptions } from './engine-host.ts'
import { Residency } from './residency-core.ts'

export interface WarmContextsComponents {
  /** Makes the host of one context; it is not started yet. */
  makeHost: (options: EngineHostOptions) => EngineHost
  /** Default: the system's. */
  clock?: Clock
}

export interface WarmContextsOptions {
  /** Contexts loaded at once. */
  contextsMax: number
  /** Memory of their processes together, bytes. Default: no bound. */
  memoryBytesMax?: number
  /** A context used this recently makes room only when nothing else does, ms. Default 60,000. */
  keepMs?: number
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

export class WarmContexts {
  readonly #makeHost: WarmContextsComponents['makeHost']
  readonly #clock: Clock
  readonly #options: WarmContextsOptions
  readonly #residency: Residency
  /** Each has its place in `#residency`. */
  readonly #hosts = new Map<string, EngineHost>()

  constructor(components: WarmContextsComponents, options: WarmContextsOptions) {
    this.#makeHost = components.makeHost
    this.#clock = components.clock ?? systemClock
    this.#options = options
    const { contextsMax, memoryBytesMax = Infinity, keepMs = 60_000 } = options
    this.#residency = new Residency({ contextsMax, memoryBytesMax, keepMs })
  }

  /** The contexts that are loaded or loading. */
  list(): WarmContext[] {
    return this.#residency.list().flatMap(({ contextId, uses }) => {
      const facts = this.#hosts.get(contextId)?.facts
      return this.#hosts.has(contextId) ? [{ contextId, isReady: facts !== undefined, uses, facts }] : []
    })
  }

  /**
   * The context loaded, and held until released; callers at the same time share one load. Makes room by
   * evicting idle contexts. Throws `limit-reached` when there is no room, what loading throws
   * (`context-invalid`, `model-unsupported`, `engine-failed`), or the signal's reason.
   */
  async acquire(
    contextId: string,
    folder: string,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<ContextLease> {
    const estimate = await estimateMemoryBytes(folder)
    options.signal?.throwIfAborted()
    const host = await this.#admit(contextId, folder, estimate)
    try {
      const facts = await host.start(options)
      await this.#measure(contextId, host, estimate)
      return this.#lease(contextId, host, facts)
    } catch (error) {
      this.#release(contextId, host)
      if (host.facts === undefined && this.#usesOf(contextId) === 0) await this.#remove(contextId, host)
      throw error
    }
  }

  /** Unloads a context, whoever uses it; its memory is back when this resolves. False when it was not loaded. */
  async evict(contextId: string): Promise<boolean> {
    const host = this.#hosts.get(contextId)
    if (host === undefined) return false
    await this.#remove(contextId, host)
    return true
  }

  /** Unloads everything. */
  async stop(): Promise<void> {
    await Promise.all([...this.#hosts].map(([contextId, host]) => this.#remove(contextId, host)))
  }

  async #admit(contextId: string, folder: string, estimate: number): Promise<EngineHost> {
    const admission = this.#residency.acquire(contextId, estimate, this.#clock.nowMs())
    const present = this.#hosts.get(contextId)
    if (present !== undefined) return present
    if (admission.kind !== 'admit') {
      const why =
        admission.kind === 'too-large'
          ? `the context needs about ${estimate} bytes, over the bound on all contexts together`
          : 'the contexts that are in use leave no room'
      throw new HearthError('limit-reached', why, { data: { contextId, memoryBytes: estimate } })
    }
    const host = this.#makeHost({ ...this.#options.host, folder })
    // The place is taken first, so that a second caller shares it while the others leave.
    this.#hosts.set(contextId, host)
    await this.#stopAll(admission.evict)
    return host
  }

  /** Makes the estimate true. What no longer fits, goes. */
  async #measure(contextId: string, host: EngineHost, estimate: number): Promise<void> {
    const memoryBytes = host.residentBytes === 0 ? estimate : host.residentBytes
    this.#residency.loaded(contextId, { memoryBytes, loadMs: host.facts?.loadMs ?? 0 })
    await this.#stopAll(this.#residency.trim(this.#clock.nowMs()))
  }

  async #stopAll(contextIds: readonly string[]): Promise<void> {
    await Promise.all(
      contextIds.map(async (contextId) => {
        const host = this.#hosts.get(contextId)
        this.#hosts.delete(contextId)
        await host?.stop()
      }),
    )
  }

  #lease(contextId: string, host: EngineHost, facts: EngineHostFacts): ContextLease {
    let isHeld = true
    const release = (): void => {
      if (isHeld) this.#release(contextId, host)
      isHeld = false
    }
    return { contextId, host, facts, release }
  }

  /** A context that was evicted and loaded again since is not this use's any more. */
  #release(contextId: string, host: EngineHost): void {
    if (this.#hosts.get(contextId) === host) this.#residency.release(contextId, this.#clock.nowMs())
  }

  #usesOf(contextId: string): number {
    return this.#residency.list().find((context) => context.contextId === contextId)?.uses ?? 0
  }

  async #remove(contextId: string, host: EngineHost): Promise<void> {
    if (this.#hosts.get(contextId) === host) {
      this.#hosts.delete(contextId)
      this.#residency.remove(contextId)
    }
    await host.stop()
  }
}
