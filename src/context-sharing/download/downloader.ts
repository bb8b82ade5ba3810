import { type Clock, every } from '../../base/clock.ts'
import { HearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { Network } from '../../base/stream/network.ts'
import type { Random } from '../../base/random.ts'
import { unlessAborted } from '../../base/waiting/unless-aborted.ts'
import { ChunkBans } from './core/chunk-bans.ts'
import { FetchQueue, type WantedFetch } from './core/fetch-queue.ts'
import type { ContextStore } from '../store/context-store.ts'
import type { DecisionSink } from '../history/decisions.ts'
import { DownloadRun } from './download-run.ts'
import type { FetchOptions, FetchProgress, FetchResult, FindHolders } from './fetch.ts'
import type { HeldContext } from '../store/held-context.ts'
import { type Manifest, decodeManifest } from '../content/manifest.ts'
import { type FoundManifest, findManifest } from './manifest-search.ts'
import type { FetchPriority } from '../wire/messages.ts'

const PROGRESS_EVERY_MS = 250

export interface DownloaderComponents {
  network: Network
  store: ContextStore
  findHolders: FindHolders
  clock: Clock
  random: Random
  log: Logger
  decisions: DecisionSink
}

export interface DownloaderOptions {
  unavailableAfterMs: number
}

/** One fetch and its waiting callers. */
interface Fetch {
  /** The priority that newly opened sources are told. */
  wanted: WantedFetch<string>
  turn: PromiseWithResolvers<void>
  result: Promise<FetchResult>
  controller: AbortController
  listeners: Set<(progress: FetchProgress) => void>
  run: DownloadRun | undefined
}

/** Fetches contexts: one fetch per context however many ask for it, and few contexts at a time. */
export class Downloader {
  readonly #components: DownloaderComponents
  readonly #options: DownloaderOptions
  readonly #fetches = new Map<string, Fetch>()
  readonly #bans = new ChunkBans()
  readonly #listeners = new Set<(contextId: string) => void>()
  readonly #queue = new FetchQueue<string>()

  constructor(components: DownloaderComponents, options: DownloaderOptions) {
    this.#components = components
    this.#options = options
  }

  /** Makes the context stored. Throws as `ContextSharing.fetch` says. */
  async fetch(contextId: string, options: FetchOptions = {}): Promise<FetchResult> {
    options.signal?.throwIfAborted()
    const priority = options.priority ?? 'normal'
    const known = this.#fetches.get(contextId)
    const priorityBefore = known?.wanted.priority
    const wanted = this.#queue.want(contextId, priority)
    const fetch = known ?? this.#begin(contextId, wanted)
    if (priorityBefore !== undefined && wanted.priority !== priorityBefore) fetch.run?.reopen()
    if (options.onProgress !== undefined) fetch.listeners.add(options.onProgress)
    try {
      return await unlessAborted(fetch.result, options.signal)
    } finally {
      if (options.onProgress !== undefined) fetch.listeners.delete(options.onProgress)
      if (this.#queue.leave(wanted))
        fetch.controller.abort(new HearthError('stream-closed', 'nobody waits for it'))
    }
  }

  /** The manifest of a context, from the local store or from a holder. Throws as `findManifest` does. */
  async manifest(
    contextId: string,
    options: { unavailableAfterMs: number; signal: AbortSignal },
  ): Promise<Manifest> {
    const known = this.#components.store.held(contextId)?.manifest
    return known ?? decodeManifest((await this.#findManifest(contextId, options)).bytes, contextId)
  }

  /** The running fetch of a context, which takes in news from other fetchers. */
  running(contextId: string): DownloadRun | undefined {
    return this.#fetches.get(contextId)?.run
  }

  isFetching(contextId: string): boolean {
    return this.#fetches.has(contextId)
  }

  /** Calls `listener` when a fetch of a context starts to receive chunks, and when it ends. */
  onFetching(listener: (contextId: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Ends all fetches and keeps their verified chunks. Resolves when the last one has ended. */
  async stop(): Promise<void> {
    const fetches = [...this.#fetches.values()]
    for (const { controller } of fetches) {
      controller.abort(
        new HearthError(
          'context-unavailable',
          'the download stopped, because this peer is shutting down; verified chunks are kept',
        ),
      )
    }
    await Promise.allSettled(fetches.map(({ result }) => result))
  }

  #begin(contextId: string, wanted: WantedFetch<string>): Fetch {
    const controller = new AbortController()
    const { promise: result, resolve, reject } = Promise.withResolvers<FetchResult>()
    const turn = Promise.withResolvers<void>()
    const fetch: Fetch = { wanted, turn, result, controller, listeners: new Set(), run: undefined }
    this.#fetches.set(contextId, fetch)
    this.#giveTurns()
    this.#fetch(contextId, fetch)
      .catch((error: unknown) => {
        this.#components.decisions.note({
          contextId,
          by: 'download',
          code: 'fetch-failed',
          words: messageOf(error),
        })
        throw error
      })
      .finally(() => {
        this.#fetches.delete(contextId)
        this.#queue.end(wanted)
        this.#tellFetching(contextId)
        this.#giveTurns()
      })
      .then(resolve, reject)
    result.catch(() => {})
    return fetch
  }

  async #fetch(contextId: string, fetch: Fetch): Promise<FetchResult> {
    const { store } = this.#components
    const { signal } = fetch.controller
    if (store.tier(contextId).kind === 'stored') return this.#result(contextId, undefined, undefined)
    await unlessAborted(fetch.turn.promise, signal)
    try {
      const { context, peers } = await this.#begun(contextId, signal)
      const bytesReused = context.heldBytes
      const run = this.#newRun(context, peers, fetch)
      fetch.run = run
      this.#tellFetching(contextId)
      this.#noteBegun(context, fetch.wanted.priority)
      await this.#download(run, context, fetch)
      await this.#components.store.complete(contextId)
      const result = this.#result(contextId, run, bytesReused)
      this.#tellProgress(fetch, context)
      this.#noteComplete(result)
      this.#components.log.info(
        { contextId, bytes: result.bytesTotal, bytesReused, sources: result.sources },
        'context fetched',
      )
      return result
    } finally {
      fetch.run = undefined
      this.#components.store.room.rest(contextId)
    }
  }

  /** The context in the store, its manifest fetched if need be. */
  async #begun(contextId: string, signal: AbortSignal): Promise<{ context: HeldContext; peers: string[] }> {
    const { store } = this.#components
    const known = store.held(contextId)?.manifestBytes
    const found =
      known === undefined
        ? await this.#findManifest(contextId, { ...this.#options, signal })
        : { bytes: known, peers: [] }
    const bytesBefore = store.held(contextId)?.heldBytes ?? 0
    const context = await store.begin(contextId, found.bytes, signal)
    this.#noteFoundLocally(context, bytesBefore)
    return { context, peers: found.peers }
  }

  async #findManifest(
    contextId: string,
    options: { unavailableAfterMs: number; signal: AbortSignal },
  ): Promise<FoundManifest> {
    const components = { ...this.#components, isBanned: this.#isBanned, ban: this.#ban }
    return await findManifest(components, contextId, options)
  }

  #newRun(context: HeldContext, peers: string[], fetch: Fetch): DownloadRun {
    return new DownloadRun(
      { ...this.#components, context, isBanned: this.#isBanned, ban: this.#ban },
      { unavailableAfterMs: this.#options.unavailableAfterMs, priority: () => fetch.wanted.priority, peers },
    )
  }

  async #download(run: DownloadRun, context: HeldContext, fetch: Fetch): Promise<void> {
    const stopTelling = every(this.#components.clock, PROGRESS_EVERY_MS, () =>
      this.#tellProgress(fetch, context),
    )
    try {
      if (context.missing().length > 0) await run.run(fetch.controller.signal)
    } finally {
      stopTelling()
      await run.close()
    }
  }

  #noteBegun({ contextId, bytesTotal, heldBytes }: HeldContext, priority: FetchPriority): void {
    const words = `${bytesTotal - heldBytes} of ${bytesTotal} bytes are missing; its priority is ${priority}`
    this.#components.decisions.note({ contextId, by: 'download', code: 'fetch-begun', words })
  }

  #noteFoundLocally({ contextId, heldBytes }: HeldContext, bytesBefore: number): void {
    if (heldBytes <= bytesBefore) return
    const words = `${heldBytes - bytesBefore} bytes were already here, in other contexts`
    this.#components.decisions.note({ contextId, by: 'download', code: 'found-locally', words })
  }

  #noteComplete({ contextId, sources, bytesReused }: FetchResult): void {
    const fetched = sources.reduce((sum, { bytes }) => sum + bytes, 0)
    const words = `${fetched} bytes from ${sources.length} peers, ${bytesReused} bytes already here`
    this.#components.decisions.note({ contextId, by: 'download', code: 'fetch-complete', words })
  }

  #result(contextId: string, run: DownloadRun | undefined, bytesReused: number | undefined): FetchResult {
    const { store } = this.#components
    const bytesTotal = store.entry(contextId)?.bytes ?? 0
    return {
      contextId,
      folder: store.folder(contextId),
      bytesTotal,
      sources: run?.sources ?? [],
      bytesReused: bytesReused ?? bytesTotal,
    }
  }

  #tellFetching(contextId: string): void {
    for (const listener of this.#listeners) listener(contextId)
  }

  #tellProgress(fetch: Fetch, context: HeldContext): void {
    const progress: FetchProgress = {
      contextId: context.contextId,
      bytesDone: context.heldBytes,
      bytesTotal: context.bytesTotal,
      sources: fetch.run?.sources ?? [],
    }
    for (const listener of fetch.listeners) listener(progress)
  }

  #giveTurns(): void {
    for (let next = this.#queue.next(); next !== undefined; next = this.#queue.next())
      this.#fetches.get(next.key)?.turn.resolve()
  }

  readonly #isBanned = (peer: string): boolean => this.#bans.has(peer, this.#components.clock.nowMs())

  readonly #ban = (peer: string): void => this.#bans.add(peer, this.#components.clock.nowMs())
}
