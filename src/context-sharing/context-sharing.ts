import type { Clock } from '../base/clock.ts'
import { HearthError } from '../base/errors.ts'
import type { Logger } from '../base/log/logger.ts'
import type { Network } from '../base/stream/network.ts'
import type { Random } from '../base/random.ts'
import { Collector } from './upkeep/collector.ts'
import type { ContextStore, Damage } from './store/context-store.ts'
import { type Copies, NO_COPIES } from './store/copies.ts'
import type { DecisionSink } from './history/decisions.ts'
import { Downloader } from './download/downloader.ts'
import type { FetchOptions, FetchResult, FindHolders } from './download/fetch.ts'
import { UNAVAILABLE_AFTER_MS } from './download/timings.ts'
import type { Manifest } from './content/manifest.ts'
import { type ScrubProgress, Scrubber } from './upkeep/scrubber.ts'
import { UploadGate, type UploadRate } from './upload/upload-gate.ts'
import { UploadMonth } from './upload/upload-month.ts'
import { UploadServer } from './upload/upload-server.ts'

export type {
  FetchOptions,
  FetchProgress,
  FetchResult,
  FindHolders,
  SourceProgress,
} from './download/fetch.ts'

export interface ContextSharingComponents {
  network: Network
  /** Opened before `start()`, closed after `stop()`, by whoever made it. Its `onChange` says what to advertise. */
  store: ContextStore
  findHolders: FindHolders
  clock: Clock
  random: Random
  log: Logger
  decisions: DecisionSink
  /** Tells which copies other peers have, to decide what may be dropped here. Default: nothing is known. */
  copies?: Copies
  /** Why an engine needs a context now; undefined when none does. */
  whyLoaded?: (contextId: string) => string | undefined
  /** Called when files of a context were found damaged on disk: an engine may have read the damage. */
  onDamaged?: (contextId: string) => void
}

export interface ContextSharingOptions {
  /** How long a fetch goes without one new byte before it fails with `context-unavailable`, ms. Default 60,000. */
  unavailableAfterMs?: number
  /** Bytes per second that may be sent, or 70 % of what is measured. Default: no cap. */
  uploadRate?: UploadRate
  /** Bytes that may be sent in a calendar month (UTC). Default: no cap. */
  uploadMonthBytes?: number | undefined
}

const CONTEXT_SHARING_OPTIONS: Readonly<Required<ContextSharingOptions>> = Object.freeze({
  unavailableAfterMs: UNAVAILABLE_AFTER_MS,
  uploadRate: 'unlimited',
  uploadMonthBytes: undefined,
})

/** How long a manifest alone is looked for, ms. */
const MANIFEST_MS_MAX = 10_000

interface Running {
  downloader: Downloader
  server: UploadServer
  gate: UploadGate
  collector: Collector
  scrubber: Scrubber
}

/** Contexts as content between peers: serves what the store holds, fetches what it does not. */
export class ContextSharing {
  readonly #components: ContextSharingComponents
  readonly #options: Required<ContextSharingOptions>
  readonly #listeners = new Set<(contextId: string) => void>()
  #running: Running | undefined

  constructor(components: ContextSharingComponents, options: ContextSharingOptions = {}) {
    this.#components = components
    this.#options = Object.freeze({ ...CONTEXT_SHARING_OPTIONS, ...options })
  }

  /** Registers the protocol `context/1`, and begins to look after the store. */
  async start(): Promise<void> {
    if (this.#running !== undefined) return
    const { store, decisions, clock, log, copies = NO_COPIES } = this.#components
    const downloader = new Downloader(this.#components, this.#options)
    const gate = this.#newGate()
    const server = new UploadServer({ ...this.#components, downloader, gate })
    const collector = new Collector({
      store,
      copies,
      whyInUse: (contextId) => this.whyInUse(contextId),
      decisions,
      clock,
      log,
    })
    const scrubber = new Scrubber({ store, clock, log })
    this.#running = { downloader, server, gate, collector, scrubber }
    store.onDamage = (damage) => this.#mend(damage)
    collector.start()
    scrubber.start()
    await server.start()
    downloader.onFetching((contextId) => this.#listeners.forEach((listener) => listener(contextId)))
  }

  /** Whether a fetch of the context is under way. */
  isFetching(contextId: string): boolean {
    return this.#running?.downloader.isFetching(contextId) === true
  }

  /** Calls `listener` when a fetch of a context starts to receive chunks, and when it ends. */
  onFetching(listener: (contextId: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Unregisters the protocol and ends fetches; verified chunks are kept. `start()` works again afterwards. */
  async stop(): Promise<void> {
    const running = this.#running
    if (running === undefined) return
    this.#running = undefined
    this.#components.store.onDamage = () => {}
    running.scrubber.stop()
    await running.collector.stop()
    await running.server.stop()
    await running.downloader.stop()
    running.gate.stop()
  }

  /** Why a context cannot be deleted now; undefined when nothing uses it. */
  whyInUse(contextId: string): string | undefined {
    const loaded = this.#components.whyLoaded?.(contextId)
    if (loaded !== undefined) return loaded
    if (this.isFetching(contextId)) return 'it is downloading'
    const peers = this.#running?.server.sessionsOf(contextId) ?? 0
    return peers === 0
      ? undefined
      : `${peers} ${peers === 1 ? 'peer downloads' : 'peers download'} it from here`
  }

  /** Removes a context for its owner. Throws `context-kept` as Collector.remove does. */
  async remove(contextId: string, options: { force: boolean }): Promise<void> {
    await this.#require(contextId).collector.remove(contextId, options)
  }

  /** Reads stored chunks again now. Corrupted chunks are downloaded again. */
  async scrub(
    contextIds: readonly string[],
    options: { signal?: AbortSignal; onProgress?: (progress: ScrubProgress) => void },
  ): Promise<ScrubProgress> {
    return await this.#require(contextIds.join()).scrubber.run(contextIds, options)
  }

  /** Whether those that fetch a context from here have, all together, every chunk of it that is here. */
  isElsewhere(contextId: string): boolean {
    return this.#running?.server.isElsewhere(contextId) === true
  }

  /** `peer` takes over a context because this one is going: until the end, its chunks come first. */
  handOffTo(peer: string, contextId: string): () => void {
    return this.#require(contextId).server.handOffTo(peer, contextId)
  }

  /** Bytes per second that may be sent now; undefined: no cap, or none measured yet. */
  get uploadCapBytesPerSecond(): number | undefined {
    return this.#running?.gate.capBytesPerSecond
  }

  /**
   * Downloads a context until it is `stored`. One fetch per context runs at a time; callers
   * share it, and it ends when the last of them aborts. Verified chunks stay for the next time.
   * Throws `context-unavailable`, `context-invalid`, `disk-full`, or the signal's reason.
   */
  async fetch(contextId: string, options: FetchOptions = {}): Promise<FetchResult> {
    return await this.#require(contextId).downloader.fetch(contextId, options)
  }

  /** The manifest of a context, from the store or from a holder. Throws `context-unavailable` or `context-invalid`. */
  async manifest(contextId: string, options: { signal: AbortSignal }): Promise<Manifest> {
    const limits = { ...options, unavailableAfterMs: MANIFEST_MS_MAX }
    return await this.#require(contextId).downloader.manifest(contextId, limits)
  }

  #newGate(): UploadGate {
    const { clock, log, store } = this.#components
    const { uploadRate, uploadMonthBytes } = this.#options
    const month =
      uploadMonthBytes === undefined
        ? undefined
        : new UploadMonth({ clock, log, memory: store.memory }, uploadMonthBytes)
    return new UploadGate({ clock, month }, uploadRate)
  }

  /** Downloads corrupted chunks again at once, for contexts that were complete. */
  #mend({ path, chunks, contextIds, wholeIds }: Damage): void {
    const words = `${chunks} chunks of ${path} are corrupted; they are no longer served and are downloaded again`
    for (const contextId of contextIds) {
      this.#components.decisions.note({ contextId, by: 'store', code: 'damaged', words })
      this.#components.onDamaged?.(contextId)
    }
    for (const contextId of wholeIds) {
      // How it ended is in the log of decisions.
      this.fetch(contextId).catch(() => {})
    }
  }

  #require(contextId: string): Running {
    if (this.#running !== undefined) return this.#running
    throw new HearthError(
      'context-unavailable',
      `cannot use ${contextId}, because this peer is stopped: start it with "hearth up" and try again`,
    )
  }
}
