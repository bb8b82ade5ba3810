import { type Clock, every } from '../../base/clock.ts'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { Network } from '../../base/stream/network.ts'
import type { Random } from '../../base/random.ts'
import type { DecisionCode, DecisionSink } from '../history/decisions.ts'
import type { FindHolders } from './fetch.ts'
import { type Download, type DownloadEffect, type DownloadEvent, newDownload, step } from './core/download.ts'
import type { HeldContext } from '../store/held-context.ts'
import type { FetchPriority } from '../wire/messages.ts'
import { DOWNLOAD_TICK_MS } from './timings.ts'
import { SourceSession, bitfieldOf, openSource } from './source-session.ts'

export interface DownloadRunComponents {
  network: Network
  findHolders: FindHolders
  clock: Clock
  random: Random
  log: Logger
  decisions: DecisionSink
  context: HeldContext
  /** Peers that recently sent corrupted chunks. */
  isBanned: (peer: string) => boolean
  ban: (peer: string) => void
}

export interface DownloadRunOptions {
  unavailableAfterMs: number
  priority: () => FetchPriority
  /** Peers that may hold the context, known from looking for its manifest. */
  peers: readonly string[]
}

interface OpenSource {
  controller: AbortController
  session: SourceSession | undefined
}

/** The shell of one download: turns the core's effects into streams, and their outcomes into events. */
export class DownloadRun {
  readonly #components: DownloadRunComponents
  readonly #options: DownloadRunOptions
  readonly #download: Download
  readonly #sources = new Map<string, OpenSource>()
  readonly #controller = new AbortController()
  readonly #outcome = Promise.withResolvers<void>()
  /** Chunks that are being stored; each raises its event when it is on disk. */
  readonly #storing = new Set<number>()
  /** Streams and look-ups under way; `closed` waits for them. */
  readonly #underWay = new Set<Promise<void>>()

  constructor(components: DownloadRunComponents, options: DownloadRunOptions) {
    this.#components = components
    this.#options = options
    const { map } = components.context
    const lengths = Uint32Array.from({ length: map.count }, (_value, chunk) => map.chunk(chunk).length)
    this.#download = newDownload(lengths, components.context.missing(), [], {
      unavailableAfterMs: options.unavailableAfterMs,
    })
  }

  /** Verified bytes and rate by source, most first. */
  get sources(): { peer: string; bytes: number; rateBytesPerSecond: number }[] {
    const { delivered, sources } = this.#download
    return [...delivered]
      .map(([peer, bytes]) => ({
        peer,
        bytes,
        rateBytesPerSecond: Math.round(sources.get(peer)?.rateBytesPerSecond ?? 0),
      }))
      .sort((left, right) => right.bytes - left.bytes)
  }

  /**
   * Resolves once every wanted chunk is on disk. Throws `context-unavailable`, `disk-full`, or the
   * signal's reason; what is on disk by then stays.
   */
  async run(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { clock, context } = this.#components
    const onAbort = (): void => this.#outcome.reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    const stopTicking = every(clock, DOWNLOAD_TICK_MS, () => this.#dispatch({ kind: 'tick' }))
    const stopTelling = context.onHeld((chunk) => this.#onHeld(chunk))
    try {
      this.#dispatch({ kind: 'start' })
      this.#dispatch({ kind: 'holders-found', peers: [...this.#options.peers], wasAsked: false })
      await this.#outcome.promise
    } finally {
      stopTelling()
      stopTicking()
      signal.removeEventListener('abort', onAbort)
      this.#download.isOver = true
      for (const { session } of this.#sources.values()) session?.end()
    }
  }

  /** Ends the remaining streams and waits for them. */
  async close(): Promise<void> {
    this.#controller.abort(new HearthError('stream-closed', 'the fetch is over'))
    await Promise.all(this.#underWay)
  }

  /** Peers that are fetching the same context: they have some chunks, or will soon. */
  heardOf(peers: readonly string[]): void {
    this.#dispatch({ kind: 'holders-found', peers: this.#notOurselves(peers), wasAsked: false })
  }

  /** Opens all sources anew: a stream keeps the priority that it was opened with. */
  reopen(): void {
    const reason = new HearthError('stream-closed', `the fetch is ${this.#options.priority()} now`)
    for (const { controller } of this.#sources.values()) controller.abort(reason)
  }

  /** These chunks are being requested from another peer. */
  claimed(chunks: number[]): void {
    this.#dispatch({ kind: 'claimed', chunks })
  }

  #dispatch(event: DownloadEvent): void {
    const { clock, random } = this.#components
    for (const effect of step(this.#download, event, clock.nowMs(), random)) this.#perform(effect)
  }

  #perform(effect: DownloadEffect): void {
    switch (effect.kind) {
      case 'find':
        return this.#start(this.#find())
      case 'connect':
        return this.#start(this.#connect(effect.peer))
      case 'close':
        this.#note('source-left', effect.peer, effect.reason)
        return this.#close(effect.peer, effect.reason)
      case 'request':
        return this.#sources.get(effect.peer)?.session?.request(effect.chunks)
      case 'cancel':
        return this.#sources.get(effect.peer)?.session?.cancel(effect.chunks)
      case 'claim':
        return this.#sources.get(effect.peer)?.session?.tellClaim(effect.chunks)
      case 'ban':
        this.#components.ban(effect.peer)
        this.#note('source-banned', effect.peer, effect.reason)
        this.#components.log.warn(this.#fields({ peer: effect.peer, reason: effect.reason }), 'source banned')
        return this.#close(effect.peer, effect.reason)
      case 'complete':
        return this.#outcome.resolve()
      case 'give-up':
        return this.#outcome.reject(this.#unavailable(effect.reason))
    }
  }

  #start(work: Promise<void>): void {
    this.#underWay.add(work)
    void work.finally(() => this.#underWay.delete(work))
  }

  async #find(): Promise<void> {
    let peers: string[] = []
    try {
      peers = await this.#components.findHolders(this.#components.context.contextId, {
        signal: this.#controller.signal,
      })
    } catch (error) {
      this.#components.log.debug(this.#fields({ error: messageOf(error) }), 'looking for holders failed')
    }
    this.#dispatch({ kind: 'holders-found', peers: this.#notOurselves(peers), wasAsked: true })
  }

  #notOurselves(peers: readonly string[]): string[] {
    return peers.filter((peer) => peer !== this.#components.network.self && !this.#components.isBanned(peer))
  }

  /** Runs one source from dialling to its end. Never throws: the outcome is an event. */
  async #connect(peer: string): Promise<void> {
    const source: OpenSource = { controller: new AbortController(), session: undefined }
    const signal = AbortSignal.any([this.#controller.signal, source.controller.signal])
    this.#sources.set(peer, source)
    let reason = 'it ended the stream'
    try {
      await this.#use(peer, source, signal)
    } catch (error) {
      reason = messageOf(error)
      this.#components.log.debug(this.#fields({ peer, reason }), 'source lost')
      this.#hearAlternatives(error)
    }
    if (this.#sources.get(peer) !== source) return
    this.#sources.delete(peer)
    this.#note('source-left', peer, reason)
    this.#dispatch({ kind: 'source-lost', peer, reason })
  }

  async #use(peer: string, source: OpenSource, signal: AbortSignal): Promise<void> {
    const { context, clock } = this.#components
    const opened = await openSource(this.#components, peer, context.contextId, {
      priority: this.#options.priority(),
      signal,
    })
    const has = bitfieldOf(opened, context.map)
    const session = new SourceSession(
      { clock, stream: opened.stream, map: context.map },
      {
        has: (chunks) => this.#dispatch({ kind: 'source-has', peer, chunks }),
        bytes: (bytes) => this.#dispatch({ kind: 'bytes', peer, bytes }),
        chunk: (chunk, bytes) => this.#store(session, chunk, bytes),
        refused: (chunks) => this.#dispatch({ kind: 'chunks-refused', peer, chunks }),
        peers: (peers) => this.heardOf(peers),
        busy: (chunks, retryMs, alternatives) =>
          this.#dispatch({
            kind: 'source-busy',
            peer,
            chunks,
            retryMs,
            alternatives: this.#notOurselves(alternatives),
          }),
      },
      signal,
    )
    source.session = session
    const roundTripMs = Math.round(opened.roundTripMs)
    this.#note(
      'source-chosen',
      peer,
      `it has ${has.count} of ${context.map.count} chunks and answers in ${roundTripMs} ms`,
    )
    session.tellHave([...context.held])
    this.#dispatch({ kind: 'source-open', peer, has, roundTripMs: opened.roundTripMs })
    await session.run()
  }

  #hearAlternatives(error: unknown): void {
    if (!isHearthError(error, 'limit-reached')) return
    const { alternatives } = error.data as { alternatives?: string[] }
    this.heardOf(alternatives ?? [])
  }

  async #store(session: SourceSession, chunk: number, bytes: Uint8Array): Promise<void> {
    const { peer } = session
    this.#storing.add(chunk)
    try {
      await this.#components.context.write(chunk, bytes)
      this.#dispatch({ kind: 'chunk-held', chunk, from: peer })
    } catch (error) {
      if (!isHearthError(error, 'chunk-corrupt')) return this.#outcome.reject(error)
      this.#components.log.warn(this.#fields({ peer, chunk }), 'a source sent a corrupted chunk')
      session.complain(chunk)
      this.#dispatch({ kind: 'chunk-corrupt', peer, chunk })
    } finally {
      this.#storing.delete(chunk)
    }
  }

  #onHeld(chunk: number): void {
    for (const { session } of this.#sources.values()) session?.tellHave([chunk])
    if (!this.#storing.has(chunk)) this.#dispatch({ kind: 'chunk-held', chunk, from: undefined })
  }

  #close(peer: string, reason: string): void {
    const source = this.#sources.get(peer)
    this.#sources.delete(peer)
    source?.controller.abort(new HearthError('stream-closed', reason))
  }

  #unavailable(reason: string): HearthError {
    const { context } = this.#components
    return new HearthError(
      'context-unavailable',
      `cannot fetch context ${context.contextId}: no new byte for ${this.#options.unavailableAfterMs} ms, because ${reason}. The ${context.heldBytes} of ${context.bytesTotal} bytes already here are kept; try again when a peer that has the context is up`,
      {
        data: {
          contextId: context.contextId,
          reason,
          bytesDone: context.heldBytes,
          bytesTotal: context.bytesTotal,
        },
      },
    )
  }

  #note(code: DecisionCode, peer: string, words: string): void {
    const { contextId } = this.#components.context
    this.#components.decisions.note({ contextId, by: 'download', code, peer, words })
  }

  #fields(fields: object): object {
    return { contextId: this.#components.context.contextId, ...fields }
  }
}
