import type { Clock } from '../../base/clock.ts'
import { UPLOAD_SESSIONS_MAX } from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { MessageStream } from '../../base/stream/message-stream.ts'
import type { Network } from '../../base/stream/network.ts'
import type { Random } from '../../base/random.ts'
import { ChunkBuffers } from './chunk-buffers.ts'
import type { ContextStore } from '../store/context-store.ts'
import type { DecisionSink } from '../history/decisions.ts'
import type { Downloader } from '../download/downloader.ts'
import type { HeldContext } from '../store/held-context.ts'
import {
  CONTEXT_PROTOCOL,
  type FetchPriority,
  OPEN_DEADLINE_MS,
  SEND_DEADLINE_MS,
  fetcherMessageSchema,
} from '../wire/messages.ts'
import { introduce, someOthers } from './core/introductions.ts'
import { Releases } from './releases.ts'
import { SESSIONS_RETRY_MS } from './timings.ts'
import type { UploadClass } from './core/upload-budget.ts'
import type { UploadGate } from './upload-gate.ts'
import { UploadSession } from './upload-session.ts'

export interface UploadServerComponents {
  network: Network
  store: ContextStore
  downloader: Downloader
  gate: UploadGate
  decisions: DecisionSink
  clock: Clock
  random: Random
  log: Logger
}

/** Serves contexts to fetchers from the store, even partial ones. */
export class UploadServer {
  readonly #components: UploadServerComponents
  readonly #buffers = new ChunkBuffers()
  readonly #releases: Releases
  /** Fetchers by context. */
  readonly #sessions = new Map<string, Set<UploadSession>>()
  #sessionCount = 0
  /** Peers that take over what this one has, as "peer contextId". */
  readonly #handingOff = new Set<string>()
  #unhandle: (() => Promise<void>) | undefined

  constructor(components: UploadServerComponents) {
    this.#components = components
    this.#releases = new Releases(components)
  }

  async start(): Promise<void> {
    this.#releases.start()
    this.#unhandle = await this.#components.network.handle(CONTEXT_PROTOCOL, (stream, signal) =>
      this.#serve(stream, signal),
    )
  }

  async stop(): Promise<void> {
    await this.#unhandle?.()
    this.#unhandle = undefined
    this.#releases.stop()
  }

  /** Number of peers that fetch a context from here. */
  sessionsOf(contextId: string): number {
    return this.#sessions.get(contextId)?.size ?? 0
  }

  /** From now on until the function returned is called, `peer` comes first with this context. */
  handOffTo(peer: string, contextId: string): () => void {
    this.#handingOff.add(`${peer} ${contextId}`)
    return () => this.#handingOff.delete(`${peer} ${contextId}`)
  }

  /** Whether those that fetch a context from here have, all together, every chunk of it that is here. */
  isElsewhere(contextId: string): boolean {
    const sessions = [...(this.#sessions.get(contextId) ?? [])]
    const held = this.#components.store.held(contextId)?.held ?? []
    for (const chunk of held) if (!sessions.some(({ fetcherHas }) => fetcherHas.has(chunk))) return false
    return sessions.length > 0
  }

  async #serve(stream: MessageStream, signal: AbortSignal): Promise<void> {
    const message = await stream.receive(fetcherMessageSchema, { deadlineMs: OPEN_DEADLINE_MS, signal })
    if (message === undefined) return
    if (message.type !== 'open') {
      return await this.#answer(stream, signal, { type: 'reject', code: 'out-of-turn', chunks: [] })
    }
    const context = this.#servable(message.contextId)
    if (context === undefined) return await this.#answer(stream, signal, { type: 'absent' })
    if (this.#sessionCount >= UPLOAD_SESSIONS_MAX) {
      const alternatives = this.#others(context, stream.peer)
      return await this.#answer(stream, signal, {
        type: 'busy',
        chunks: [],
        retryMs: SESSIONS_RETRY_MS,
        alternatives,
      })
    }
    await this.#runSession(context, message.priority, stream, signal)
  }

  /** A context that is here or is being fetched, even in part. */
  #servable(contextId: string): HeldContext | undefined {
    const { store, downloader } = this.#components
    const context = store.held(contextId)
    if (context === undefined) return undefined
    return context.heldBytes > 0 || context.isStored || downloader.isFetching(contextId) ? context : undefined
  }

  async #runSession(
    context: HeldContext,
    priority: FetchPriority,
    stream: MessageStream,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, log, gate, downloader, store } = this.#components
    const { contextId } = context
    const { peer } = stream
    const uploadClass = (): UploadClass => (this.#handingOff.has(`${peer} ${contextId}`) ? 'drain' : priority)
    const session = new UploadSession(
      {
        clock,
        log,
        gate,
        buffers: this.#buffers,
        uploadClass,
        alternatives: () => this.#others(context, peer),
        onRefused: (reason) => this.#noteRefused(contextId, peer, reason),
        release: (tell) => (uploadClass() === 'drain' ? undefined : this.#releases.begin(context, tell)),
        onClaim: (chunks) => downloader.running(contextId)?.claimed(chunks),
      },
      context,
      stream,
      signal,
    )
    this.#add(contextId, session)
    try {
      // A fetcher soon has the chunks too.
      downloader.running(contextId)?.heardOf([stream.peer])
      const running = session.run()
      this.#introduce(context, session)
      await running
      if (!stream.isClosed) await stream.close({ deadlineMs: SEND_DEADLINE_MS, signal })
    } finally {
      this.#remove(contextId, session)
      store.memory.use(contextId)
    }
  }

  #noteRefused(contextId: string, peer: string, reason: 'waited' | 'month'): void {
    const words = reason === 'month' ? 'the monthly upload limit is reached' : 'the upload queue was too long'
    this.#components.decisions.note({ contextId, by: 'upload', code: 'upload-refused', peer, words })
  }

  async #answer(stream: MessageStream, signal: AbortSignal, message: object): Promise<void> {
    const wait = { deadlineMs: SEND_DEADLINE_MS, signal }
    await stream.send(message, wait)
    await stream.close(wait)
  }

  #others({ contextId }: HeldContext, peer: string): string[] {
    return someOthers(this.#components.random, peer, this.#fetchers(contextId))
  }

  #introduce({ contextId }: HeldContext, newcomer: UploadSession): void {
    const sessions = [...(this.#sessions.get(contextId) ?? [])]
    const { random } = this.#components
    for (const { to, others } of introduce(random, newcomer.peer, this.#fetchers(contextId))) {
      const told = to === newcomer.peer ? [newcomer] : sessions.filter(({ peer }) => peer === to)
      for (const session of told) session.tellPeers(others)
    }
  }

  /** Each once, though it may have opened the context more than once. */
  #fetchers(contextId: string): string[] {
    return [...new Set([...(this.#sessions.get(contextId) ?? [])].map(({ peer }) => peer))]
  }

  #add(contextId: string, session: UploadSession): void {
    const sessions = this.#sessions.get(contextId) ?? new Set()
    this.#sessions.set(contextId, sessions.add(session))
    this.#sessionCount += 1
  }

  #remove(contextId: string, session: UploadSession): void {
    const sessions = this.#sessions.get(contextId)
    sessions?.delete(session)
    if (sessions?.size === 0) this.#sessions.delete(contextId)
    this.#sessionCount -= 1
  }
}
