import { SmallMap } from '../../../src/base/small-map.ts'
import {
  nextTickMs,
  stepResidency,
  type ResidencyEffect,
  type ResidencyEvent,
} from '../../../src/inference/residency/core/residency.ts'
import {
  createResidency,
  RESIDENCY_DEFAULTS,
  type Residency,
  type ResidencyOptions,
} from '../../../src/inference/residency/core/residency-state.ts'
import { UNLOAD_US } from '../../scenarios/outside.ts'
import type { GpuMeter } from '../swarm/gpu-meter.ts'
import type { Swarm } from '../swarm/swarm.ts'
import type { Timer, Timers } from '../events/timers.ts'

/** The peer on whose GPU they are. */
export interface WarmOwner {
  readonly meter: GpuMeter
  readonly device: { readonly memoryBytes: number }
  /** How long the next load takes, s. */
  drawLoadS(): number
  /** A context that was loaded had to go. */
  onUnloaded(context: number, reason: string): void
}

interface Waiting {
  context: number
  onLoaded: (refusal: string | undefined) => void
}

/** The loaded contexts of one peer. Turns the effects of core/residency into time, as inference/warm-contexts.ts does into processes. */
export class WarmContexts {
  readonly #world: Swarm
  readonly #owner: WarmOwner
  readonly #timers: Timers
  readonly #residency: Residency
  readonly #memoryBytes: number
  readonly #waiting = new SmallMap<Waiting>()
  /** Callers that wait until a context is unloaded. */
  #leaving: Map<string, () => void> | undefined
  #nextTicket = 1
  #tick: Timer | undefined
  loads = 0

  constructor(world: Swarm, owner: WarmOwner, timers: Timers) {
    this.#world = world
    this.#owner = owner
    this.#timers = timers
    const { memoryBytes } = owner.device
    this.#memoryBytes = Math.min(world.scenario.contexts.memoryGB * 1e9, memoryBytes)
    this.#residency = createResidency(optionsOf(world.scenario.residency, memoryBytes))
  }

  isLoaded(context: number): boolean {
    return this.#residency.residents.get(this.#world.contextId(context))?.phase === 'loaded'
  }

  /** Whether one that is wanted is loaded. */
  hasLoaded(isWanted: (context: number) => boolean): boolean {
    for (const { phase, contextId } of this.#residency.residents.values())
      if (phase === 'loaded' && isWanted(this.#world.contextNumbered(contextId))) return true
    return false
  }

  /** Loads a context where there is room, or when others have made room; `onLoaded` gets why it is not, if so. */
  load(context: number, onLoaded: (refusal: string | undefined) => void): void {
    const ticket = this.#nextTicket++
    const contextId = this.#world.contextId(context)
    this.#waiting.set(ticket, { context, onLoaded })
    this.#step({ kind: 'acquire', ticket, contextId, estimateBytes: this.#memoryBytes })
    this.#settle()
  }

  /** Begins a use of a context that is loaded. Returns the ticket that ends it. */
  borrow(context: number): number {
    const ticket = this.#nextTicket++
    this.#step({ kind: 'acquire', ticket, contextId: this.#world.contextId(context), estimateBytes: 0 })
    return ticket
  }

  giveBack(ticket: number): void {
    this.#step({ kind: 'release', ticket })
  }

  /** Unloads a context, whoever uses it; calls `onGone` once its memory is back. */
  unload(context: number, onGone: () => void): void {
    if (!this.isLoaded(context)) return onGone()
    this.#leaving ??= new Map()
    this.#leaving.set(this.#world.contextId(context), onGone)
    this.#step({ kind: 'evict', contextId: this.#world.contextId(context), reason: 'it was unloaded' })
  }

  #step(event: ResidencyEvent): void {
    const nowMs = this.#world.kernel.nowMs
    for (const effect of stepResidency(this.#residency, event, nowMs)) this.#perform(effect)
    if (this.#residency.waiters.length > 0) this.#tickLater(nowMs)
  }

  #perform(effect: ResidencyEffect): void {
    switch (effect.kind) {
      case 'grant':
        return
      case 'refuse': {
        const waiting = this.#waiting.get(effect.ticket)
        this.#waiting.delete(effect.ticket)
        return waiting?.onLoaded(effect.why)
      }
      case 'load':
        return this.#load(effect.contextId)
      case 'close':
        return this.#owner.onUnloaded(this.#world.contextNumbered(effect.contextId), effect.reason)
      case 'unload':
        this.#timers.after(UNLOAD_US, () => this.#onGone(effect.contextId))
    }
  }

  #onGone(contextId: string): void {
    this.#step({ kind: 'unloaded', contextId })
    this.#leaving?.get(contextId)?.()
    this.#leaving?.delete(contextId)
  }

  #load(contextId: string): void {
    const { kernel } = this.#world
    const { meter } = this.#owner
    this.loads += 1
    meter.begin('load', kernel.nowUs)
    this.#timers.after(this.#owner.drawLoadS() * 1e6, () => {
      meter.end('load', kernel.nowUs)
      this.#step({ kind: 'loaded', contextId })
      this.#step({ kind: 'measured', contextId, bytes: this.#memoryBytes })
      this.#settle()
    })
  }

  /** Tells those whose context is loaded now, and ends their use: a run borrows it again. */
  #settle(): void {
    for (const ticket of this.#waiting.keys()) {
      const waiting = this.#waiting.get(ticket)
      if (waiting === undefined || !this.isLoaded(waiting.context)) continue
      this.#waiting.delete(ticket)
      waiting.onLoaded(undefined)
      this.#step({ kind: 'release', ticket })
    }
  }

  #tickLater(nowMs: number): void {
    if (this.#tick !== undefined) this.#timers.cancel(this.#tick)
    const atMs = nextTickMs(this.#residency, nowMs)
    this.#tick =
      atMs === undefined
        ? undefined
        : this.#timers.after(Math.max(1, atMs - nowMs) * 1000, () => this.#step({ kind: 'tick' }))
  }
}

/** Peers with as much memory share them. */
const shared = new WeakMap<object, Map<number, ResidencyOptions>>()

function optionsOf(overrides: Record<string, number>, memoryBytesMax: number): ResidencyOptions {
  const known = shared.get(overrides) ?? new Map<number, ResidencyOptions>()
  shared.set(overrides, known)
  const options = known.get(memoryBytesMax) ?? { ...RESIDENCY_DEFAULTS, ...overrides, memoryBytesMax }
  known.set(memoryBytesMax, options)
  return options
}
