// The loaded contexts of this peer and their uses: the shell of core/residency.ts.
import { totalmem } from 'node:os'
import { every, type Cancel, type Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { HearthError, isHearthError } from '../../base/errors.ts'
import { estimateMemoryBytes } from '../contract/model-file.ts'
import { KillGuard } from '../host/core/kill-guard.ts'
import type { EngineHost, EngineHostFacts } from '../host/engine-host.ts'
import type { EngineHostOptions } from '../host/engine-host-options.ts'
import { nextTickMs, stepResidency, type ResidencyEffect, type ResidencyEvent } from './core/residency.ts'
import {
  createResidency,
  RESIDENCY_DEFAULTS,
  SIZES_REMEMBERED_MAX,
  type Residency,
  type ResidencyOptions,
} from './core/residency-state.ts'

export interface WarmContextsComponents {
  clock: Clock
  /** Makes the host of one context; it is not started yet. */
  makeHost: (options: EngineHostOptions) => EngineHost
}

export interface WarmContextsOptions {
  /** Memory of their processes together, bytes. Default: half of the machine's. */
  memoryBytesMax?: number | undefined
  /** Contexts loaded at once. Default 16. */
  contextsMax?: number | undefined
  /** How long an acquirer waits for room, ms. Default 300,000. */
  waitMsMax?: number | undefined
  /** The other constants of the residency; see its defaults. */
  residency?: Partial<ResidencyOptions> | undefined
  /** Given to every host. Its `residentBytesMax` is by default the memory of all. */
  host: Omit<EngineHostOptions, 'folder'>
}

/** A use of a loaded context. Until it is released, the context is not unloaded for another. */
export interface ContextUse {
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
  /** Uses that have not been released. */
  uses: number
  facts: EngineHostFacts | undefined
}

/** A context that was ready, and that takes no more uses: it was unloaded, or will be after its last one. */
export interface Eviction {
  contextId: string
  /** For people. */
  reason: string
}

interface Waiting {
  host: EngineHost
  admitted: PromiseWithResolvers<EngineHost>
}

const WAIT_MS_DEFAULT = 300_000
const MEASURE_EVERY_MS = 1_000

export class WarmContexts {
  readonly #components: WarmContextsComponents
  readonly #options: WarmContextsOptions & { waitMsMax: number }
  readonly #residency: Residency
  /** The host of every resident. */
  readonly #hosts = new Map<string, EngineHost>()
  /** Resolves when the process of a leaving resident is gone. */
  readonly #leaving = new Map<string, Promise<void>>()
  readonly #waiting = new Map<number, Waiting>()
  readonly #changeListeners = new Set<() => void>()
  readonly #evictionListeners = new Set<(eviction: Eviction) => void>()
  /** The kills of each context's engine processes, while there are any to remember. */
  readonly #guards = new Map<string, KillGuard>()
  #nextTicket = 1
  #cancelTick: Cancel = () => {}
  #cancelMeasuring: Cancel | undefined
  #readyWhenLooked = ''

  /** Throws RangeError. */
  constructor(components: WarmContextsComponents, options: WarmContextsOptions) {
    const { memoryBytesMax = Math.floor(totalmem() / 2), contextsMax, waitMsMax = WAIT_MS_DEFAULT } = options
    this.#components = components
    this.#options = { ...options, waitMsMax, host: { residentBytesMax: memoryBytesMax, ...options.host } }
    this.#residency = createResidency({
      ...RESIDENCY_DEFAULTS,
      ...options.residency,
      ...(contextsMax === undefined ? {} : { contextsMax }),
      memoryBytesMax,
    })
  }

  /** Memory of all loaded contexts together, bytes. */
  get memoryBytesMax(): number {
    return this.#residency.options.memoryBytesMax
  }

  /** The contexts that are loaded or loading, least recently used first; not those that are to go. */
  list(): WarmContext[] {
    const residents = [...this.#residency.residents.values()].sort((a, b) => a.usedMs - b.usedMs)
    return residents.flatMap(({ contextId, phase, uses }) => {
      if (phase === 'closing' || phase === 'leaving') return []
      const facts = this.#hosts.get(contextId)?.facts
      return [{ contextId, isReady: facts !== undefined, uses, facts }]
    })
  }

  /** Calls `listener` whenever `list()` has changed; the returned function ends that. */
  onChange(listener: () => void): () => void {
    this.#changeListeners.add(listener)
    return () => this.#changeListeners.delete(listener)
  }

  /** Calls `listener` as soon as a context that was ready is not to be counted on; the returned function ends that. */
  onEvicted(listener: (eviction: Eviction) => void): () => void {
    this.#evictionListeners.add(listener)
    return () => this.#evictionListeners.delete(listener)
  }

  /**
   * The context loaded, and held until released; callers at the same time share one load. Where there is
   * no room it waits, and others make room in time. Throws `limit-reached` when the context is over the
   * bound on memory or none made room in `waitMsMax`, what loading throws (`context-invalid`,
   * `model-unsupported`, `engine-failed`), or the signal's reason.
   */
  async acquire(
    contextId: string,
    folder: string,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<ContextUse> {
    options.signal?.throwIfAborted()
    const ticket = this.#nextTicket++
    try {
      const host = await this.#admit(ticket, contextId, folder, options.signal)
      const facts = await this.#start(contextId, host, options)
      return { contextId, host, facts, release: () => this.#step({ kind: 'release', ticket }) }
    } catch (error) {
      this.#waiting.delete(ticket)
      this.#step({ kind: 'release', ticket })
      await this.#leaving.get(contextId)
      throw error
    }
  }

  /** A use of a context that is loaded now; undefined when it is not, or is to go. */
  borrow(contextId: string): Pick<ContextUse, 'host' | 'release'> | undefined {
    const host = this.#hosts.get(contextId)
    if (host === undefined || this.#residency.residents.get(contextId)?.phase !== 'loaded') return undefined
    const ticket = this.#nextTicket++
    this.#step({ kind: 'acquire', ticket, contextId, estimateBytes: 0 })
    return { host, release: () => this.#step({ kind: 'release', ticket }) }
  }

  /** Unloads a context, even in use. Resolves when its memory is free; false when it was not loaded. */
  async evict(contextId: string, reason = 'it was unloaded'): Promise<boolean> {
    if (!this.#residency.residents.has(contextId)) return false
    this.#step({ kind: 'evict', contextId, reason })
    await this.#leaving.get(contextId)
    return true
  }

  /** Unloads everything and rejects the waiting callers. */
  async stop(): Promise<void> {
    for (const [ticket, { admitted }] of this.#waiting) {
      this.#step({ kind: 'release', ticket })
      admitted.reject(new HearthError('engine-failed', 'the peer is unloading its contexts'))
    }
    const contextIds = [...this.#residency.residents.keys()]
    await Promise.all(contextIds.map((contextId) => this.evict(contextId, 'the peer is stopping')))
    this.#cancelTick()
  }

  /** Waits for a place. */
  async #admit(
    ticket: number,
    contextId: string,
    folder: string,
    signal: AbortSignal | undefined,
  ): Promise<EngineHost> {
    const { clock, makeHost } = this.#components
    const isThere = this.#residency.residents.has(contextId)
    const estimateBytes = isThere ? 0 : await estimateMemoryBytes(folder)
    signal?.throwIfAborted()
    const admitted = Promise.withResolvers<EngineHost>()
    const host = makeHost({ ...this.#options.host, folder, killGuard: this.#guardOf(contextId) })
    this.#waiting.set(ticket, { host, admitted })
    this.#step({ kind: 'acquire', ticket, contextId, estimateBytes })
    const whose = `room for context ${contextId}`
    try {
      return await withDeadline({ clock, ms: this.#options.waitMsMax, whose, signal }, () => admitted.promise)
    } catch (error) {
      if (signal?.aborted === true || !isHearthError(error, 'deadline-passed')) throw error
      const used = this.list().map((context) => context.contextId)
      throw new HearthError(
        'limit-reached',
        `no memory became free for context ${contextId} within ${this.#options.waitMsMax} ms; the loaded contexts are ${used.join(', ')}`,
        { cause: error },
      )
    }
  }

  /** A context whose process died is loaded again here. When that fails it has no place any more. */
  async #start(
    contextId: string,
    host: EngineHost,
    options: { signal?: AbortSignal | undefined },
  ): Promise<EngineHostFacts> {
    try {
      return await host.start(options)
    } catch (error) {
      const isOurs = options.signal?.aborted !== true && this.#hosts.get(contextId) === host
      if (isOurs) this.#step({ kind: 'failed', contextId })
      throw error
    }
  }

  #step(event: ResidencyEvent): void {
    const { clock } = this.#components
    const effects = stepResidency(this.#residency, event, clock.nowMs())
    for (const effect of effects) this.#perform(effect)
    this.#scheduleTick()
    // A use of what is loaded, one for each request, is no news.
    const isNews = effects.some(({ kind }) => kind !== 'grant')
    if (isNews || event.kind === 'loaded' || event.kind === 'unloaded') this.#changed()
  }

  #perform(effect: ResidencyEffect): void {
    const { contextId } = effect
    const waiting = 'ticket' in effect ? this.#waiting.get(effect.ticket) : undefined
    switch (effect.kind) {
      case 'load':
        if (waiting !== undefined) this.#load(contextId, waiting.host)
        break
      case 'grant':
        this.#waiting.delete(effect.ticket)
        waiting?.admitted.resolve(this.#hosts.get(contextId) ?? waiting.host)
        break
      case 'refuse':
        waiting?.admitted.reject(
          new HearthError('limit-reached', `context ${contextId} is not loaded: ${effect.why}`),
        )
        break
      case 'close':
        for (const listener of this.#evictionListeners) listener({ contextId, reason: effect.reason })
        break
      case 'unload':
        this.#unload(contextId)
        break
    }
  }

  #load(contextId: string, host: EngineHost): void {
    this.#hosts.set(contextId, host)
    host.onExit(() => this.#onExit(contextId, host))
    void this.#startHost(contextId, host)
    this.#cancelMeasuring ??= every(this.#components.clock, MEASURE_EVERY_MS, () => this.#measure())
  }

  #guardOf(contextId: string): KillGuard {
    const guard = this.#guards.get(contextId) ?? new KillGuard()
    this.#guards.delete(contextId)
    this.#guards.set(contextId, guard)
    const [oldest] = this.#guards.keys()
    if (this.#guards.size > SIZES_REMEMBERED_MAX && oldest !== undefined) this.#guards.delete(oldest)
    return guard
  }

  /** A context that is refused from now on is unloaded, so that its jobs hear why. */
  #onExit(contextId: string, host: EngineHost): void {
    this.#changed()
    const why = this.#guards.get(contextId)?.refusal(this.#components.clock.nowMs())
    if (why === undefined || this.#hosts.get(contextId) !== host) return
    const phase = this.#residency.residents.get(contextId)?.phase
    if (phase === 'loaded') void this.evict(contextId, why)
  }

  async #startHost(contextId: string, host: EngineHost): Promise<void> {
    try {
      await host.start()
    } catch {
      // The waiting caller gets the error and reports the failure.
      return
    }
    this.#step({ kind: 'loaded', contextId })
    this.#measure()
  }

  #unload(contextId: string): void {
    this.#leaving.set(contextId, this.#stopHost(contextId))
  }

  async #stopHost(contextId: string): Promise<void> {
    await this.#hosts.get(contextId)?.stop()
    this.#hosts.delete(contextId)
    this.#leaving.delete(contextId)
    if (this.#hosts.size === 0) this.#stopMeasuring()
    this.#step({ kind: 'unloaded', contextId })
  }

  /** Reads the memory of the processes, and notes those that were restarted. */
  #measure(): void {
    for (const [contextId, { residentBytes }] of this.#hosts) {
      if (residentBytes > 0) this.#step({ kind: 'measured', contextId, bytes: residentBytes })
    }
    const ready = this.list().flatMap(({ contextId, isReady }) => (isReady ? [contextId] : []))
    if (ready.join() !== this.#readyWhenLooked) this.#changed()
    this.#readyWhenLooked = ready.join()
  }

  #stopMeasuring(): void {
    this.#cancelMeasuring?.()
    this.#cancelMeasuring = undefined
  }

  #scheduleTick(): void {
    const { clock } = this.#components
    this.#cancelTick()
    const atMs = nextTickMs(this.#residency, clock.nowMs())
    this.#cancelTick =
      atMs === undefined
        ? () => {}
        : clock.schedule(Math.max(1, atMs - clock.nowMs()), () => this.#step({ kind: 'tick' }), {
            background: true,
          })
  }

  #changed(): void {
    for (const listener of this.#changeListeners) listener()
  }
}
