import type { Cancel, Clock } from '../../base/clock.ts'
import { present } from '../../base/invariants.ts'
import { UPLOADS_ACTIVE_MAX } from '../../base/limits.ts'
import {
  type UploadBudget,
  type UploadClass,
  type UploadEffect,
  type UploadEvent,
  newUploadBudget,
  stepUpload,
} from './core/upload-budget.ts'
import type { UploadMonth } from './upload-month.ts'
import { type Uplink, capOf, newUplink, noteDemand, noteSent } from './core/uplink.ts'

export interface UploadGateComponents {
  clock: Clock
  /** Counts what is sent in a month; without it there is no monthly cap. */
  month?: UploadMonth | undefined
}

/** Bytes per second; or 70 % of what the uplink was measured to carry; or no cap. */
export type UploadRate = number | 'measured' | 'unlimited'

/** May send: exactly one of the two is to be called, once. Or may not, and should ask elsewhere. */
export type Passage =
  | { isGranted: true; sent: () => void; refund: () => void }
  | { isGranted: false; retryMs: number; reason: 'waited' | 'month' }

/** Admits every chunk that leaves this peer: the shell of core/upload-budget. */
export class UploadGate {
  readonly #clock: Clock
  readonly #rate: UploadRate
  readonly #month: UploadMonth | undefined
  readonly #budget: UploadBudget
  readonly #uplink: Uplink = newUplink()
  readonly #waiting = new Map<number, (passage: Passage) => void>()
  readonly #granted = new Map<number, number>()
  #nextId = 0
  #cap: number | undefined
  #cancelWake: Cancel = () => {}

  constructor({ clock, month }: UploadGateComponents, rate: UploadRate) {
    this.#clock = clock
    this.#month = month
    this.#rate = rate
    this.#budget = newUploadBudget(UPLOADS_ACTIVE_MAX)
    if (typeof rate === 'number') this.#step({ kind: 'cap', bytesPerSecond: rate })
    if (month !== undefined) month.onChange = () => this.#noteMonth(month)
  }

  /** Bytes per second that may be sent; undefined: no cap, or none yet. */
  get capBytesPerSecond(): number | undefined {
    return typeof this.#rate === 'number' ? this.#rate : this.#cap
  }

  /** Waits until `peer` may be sent `bytes`, one chunk; when the signal is aborted, as refused. */
  async pass(peer: string, uploadClass: UploadClass, bytes: number, signal: AbortSignal): Promise<Passage> {
    const id = (this.#nextId += 1)
    const { promise, resolve } = Promise.withResolvers<Passage>()
    this.#waiting.set(id, resolve)
    const onAbort = (): void => {
      if (!this.#waiting.delete(id)) return
      this.#step({ kind: 'withdraw', id })
      resolve({ isGranted: false, retryMs: 0, reason: 'waited' })
    }
    signal.addEventListener('abort', onAbort, { once: true })
    if (this.#month !== undefined) this.#noteMonth(this.#month)
    this.#step({ kind: 'ask', id, peer, uploadClass, bytes })
    if (signal.aborted) onAbort()
    return await promise.finally(() => signal.removeEventListener('abort', onAbort))
  }

  /** Counts bytes that do not wait: manifests. */
  charge(bytes: number): void {
    this.#month?.spend(bytes)
    this.#step({ kind: 'charge', bytes })
  }

  stop(): void {
    this.#cancelWake()
  }

  #step(event: UploadEvent): void {
    const cap = this.#measuredCap()
    if (cap !== this.#cap) {
      this.#cap = cap
      this.#take({ kind: 'cap', bytesPerSecond: cap })
    }
    this.#take(event)
  }

  #take(event: UploadEvent): void {
    const effects = stepUpload(this.#budget, event, this.#clock.nowMs())
    const isBusy = this.#waiting.size > 0 || this.#budget.active.size > 0
    noteDemand(this.#uplink, isBusy, this.#clock.nowMs())
    for (const effect of effects) this.#perform(effect)
  }

  #perform(effect: UploadEffect): void {
    switch (effect.kind) {
      case 'grant':
        return this.#grant(effect.id)
      case 'refuse':
        return this.#settle(effect.id, {
          isGranted: false,
          retryMs: effect.retryMs,
          reason: effect.reason,
        })
      case 'wake':
        this.#cancelWake()
        this.#cancelWake = this.#clock.schedule(effect.afterMs, () => this.#step({ kind: 'tick' }), {
          background: true,
        })
        return
    }
  }

  #grant(id: number): void {
    const { bytes } = present(this.#budget.active.get(id), 'a granted chunk is active', { id })
    this.#month?.spend(bytes)
    this.#granted.set(id, bytes)
    this.#settle(id, {
      isGranted: true,
      sent: () => this.#end(id, 'done'),
      refund: () => this.#end(id, 'refund'),
    })
  }

  #settle(id: number, passage: Passage): void {
    this.#waiting.get(id)?.(passage)
    this.#waiting.delete(id)
  }

  #end(id: number, kind: 'done' | 'refund'): void {
    const bytes = this.#granted.get(id)
    if (bytes === undefined) return
    this.#granted.delete(id)
    if (kind === 'done') noteSent(this.#uplink, bytes, this.#clock.nowMs())
    else this.#month?.spend(-bytes)
    if (this.#month !== undefined) this.#noteMonth(this.#month)
    this.#step({ kind, id })
  }

  #noteMonth(month: UploadMonth): void {
    this.#step({ kind: 'month', leftBytes: month.leftBytes, isSpent: month.isSpent })
  }

  /** The cap by what the uplink carries; undefined while that is being measured, or is not asked for. */
  #measuredCap(): number | undefined {
    return this.#rate === 'measured' ? capOf(this.#uplink, this.#clock.nowMs()) : undefined
  }
}
