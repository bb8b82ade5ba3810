import type { Clock } from '../base/clock.ts'
import { HearthError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Network } from '../base/network.ts'
import type { Random } from '../base/random.ts'
import type { ContextStore } from './context-store.ts'
import type { DecisionSink } from './decisions.ts'
import { Downloader } from './downloader.ts'
import type { FetchOptions, FetchResult, FindHolders } from './fetch.ts'
import { UploadServer } from './upload-server.ts'

export type { FetchOptions, FetchProgress, FetchResult, FindHolders, SourceProgress } from './fetch.ts'

export interface ContextSharingComponents {
  network: Network
  /** Opened before `start()`, closed after `stop()`, by whoever made it. Its `onTier` says what to advertise. */
  store: ContextStore
  findHolders: FindHolders
  clock: Clock
  random: Random
  log: Logger
  decisions: DecisionSink
}

export interface ContextSharingOptions {
  /** How long a fetch goes without one new byte before it fails with `context-unavailable`, ms. Default 60,000. */
  unavailableAfterMs?: number
}

export const CONTEXT_SHARING_OPTIONS: Readonly<Required<ContextSharingOptions>> = Object.freeze({
  unavailableAfterMs: 60_000,
})

/** Contexts as content between peers: serves what the store holds, fetches what it does not. */
export class ContextSharing {
  readonly #components: ContextSharingComponents
  readonly #options: Required<ContextSharingOptions>
  readonly #listeners = new Set<(contextId: string) => void>()
  #running: { downloader: Downloader; server: UploadServer } | undefined

  constructor(components: ContextSharingComponents, options: ContextSharingOptions = {}) {
    this.#components = components
    this.#options = Object.freeze({ ...CONTEXT_SHARING_OPTIONS, ...options })
  }

  /** Registers the protocol `context/1`. */
  async start(): Promise<void> {
    if (this.#running !== undefined) return
    const downloader = new Downloader(this.#components, this.#options)
    const server = new UploadServer({ ...this.#components, downloader })
    await server.start()
    downloader.onFetching((contextId) => this.#listeners.forEach((listener) => listener(contextId)))
    this.#running = { downloader, server }
  }

  /** Whether a fetch of the context is under way. */
  isFetching(contextId: string): boolean {
    return this.#running?.downloader.isFetching(contextId) === true
  }

  /** Calls `listener` when a fetch of a context has begun to take in chunks, and when it has ended. */
  onFetching(listener: (contextId: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Takes the protocol back and ends fetches; what came is kept. `start()` works again afterwards. */
  async stop(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    await running?.server.stop()
    await running?.downloader.stop()
  }

  /**
   * Makes the context `stored`, from whoever holds it. One fetch per context runs at a time; callers
   * share it, and it ends when the last of them aborts. What came stays for the next time.
   * Throws `context-unavailable`, `context-invalid`, `disk-full`, or the signal's reason.
   */
  async fetch(contextId: string, options: FetchOptions = {}): Promise<FetchResult> {
    if (this.#running === undefined) {
      throw new HearthError(
        'context-unavailable',
        `context ${contextId} cannot be fetched: this peer is stopped`,
      )
    }
    return await this.#running.downloader.fetch(contextId, options)
  }
}
