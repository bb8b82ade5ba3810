import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { Network } from '../base/network.ts'
import type { Random } from '../base/random.ts'
import type { ContextStore } from './context-store.ts'

/** Peers that may hold a context, wherever the answer comes from. May be called again to find more. */
export type FindHolders = (contextId: string, options: { signal: AbortSignal }) => Promise<string[]>

export interface ContextSharingComponents {
  network: Network
  /** Opened before `start()`, closed after `stop()`, by whoever made it. */
  store: ContextStore
  findHolders: FindHolders
  clock: Clock
  random: Random
  log: Logger
}

export interface ContextSharingOptions {
  /** How long a fetch goes without one new byte before it fails with `context-unavailable`, ms. Default 60,000. */
  unavailableAfterMs?: number
}

export interface SourceProgress {
  peer: string
  /** Verified bytes that came from this peer in this fetch. */
  bytes: number
  rateBytesPerSecond: number
}

export interface FetchProgress {
  /** Verified bytes on disk, whatever they came from. */
  bytesDone: number
  bytesTotal: number
  sources: SourceProgress[]
}

export interface FetchOptions {
  signal?: AbortSignal
  /** Called at most a few times a second, and once at the end. */
  onProgress?: (progress: FetchProgress) => void
}

export interface FetchResult {
  contextId: string
  folder: string
  bytesTotal: number
  /** Bytes fetched from whom, most first. */
  sources: SourceProgress[]
  /** Bytes that were already on this disk (an earlier try, or a file shared with another context). */
  bytesReused: number
}

/** Contexts as content between peers: serves what the store holds, fetches what it does not. */
export class ContextSharing {
  readonly #components: ContextSharingComponents
  readonly #options: ContextSharingOptions

  constructor(components: ContextSharingComponents, options: ContextSharingOptions = {}) {
    this.#components = components
    this.#options = options
  }

  /** Registers the protocol `context/1`. */
  async start(): Promise<void> {}

  /** Ends fetches and uploads, and takes the protocol back. `start()` works again afterwards. */
  async stop(): Promise<void> {}

  /**
   * Makes the context `stored`, from whoever holds it. One fetch per context runs at a time; callers share it.
   * Throws `context-unavailable`, `context-invalid`, `disk-full`, or the signal's reason.
   */
  async fetch(_contextId: string, _options: FetchOptions = {}): Promise<FetchResult> {
    throw new Error(`not yet ${this.#components.network.self} ${this.#options.unavailableAfterMs}`)
  }
}
