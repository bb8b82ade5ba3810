import type { EventHandle, Kernel } from '../kernel/kernel.ts'

export interface Timer {
  handle: EventHandle
  dueUs: number
  run: () => void
}

/** What one peer waits for: all of it stands still while the peer is frozen, and is gone when it is killed. */
export class Timers {
  readonly #kernel: Kernel
  readonly #tag: number
  readonly #timers = new Set<Timer>()
  #frozenUs: number | undefined

  constructor(kernel: Kernel, tag: number) {
    this.#kernel = kernel
    this.#tag = tag
  }

  after(delayUs: number, run: () => void): Timer {
    const timer: Timer = { handle: 0, dueUs: this.#kernel.nowUs + delayUs, run }
    this.#timers.add(timer)
    if (this.#frozenUs === undefined) this.#schedule(timer)
    return timer
  }

  cancel(timer: Timer): void {
    if (this.#timers.delete(timer)) this.#kernel.cancel(timer.handle)
  }

  freeze(): void {
    this.#frozenUs = this.#kernel.nowUs
    for (const { handle } of this.#timers) this.#kernel.cancel(handle)
  }

  thaw(): void {
    if (this.#frozenUs === undefined) return
    const stoodStillUs = this.#kernel.nowUs - this.#frozenUs
    this.#frozenUs = undefined
    for (const timer of this.#timers) {
      timer.dueUs += stoodStillUs
      this.#schedule(timer)
    }
  }

  clear(): void {
    for (const { handle } of this.#timers) this.#kernel.cancel(handle)
    this.#timers.clear()
    this.#frozenUs = undefined
  }

  #schedule(timer: Timer): void {
    timer.handle = this.#kernel.at(timer.dueUs, this.#tag, () => {
      this.#timers.delete(timer)
      timer.run()
    })
  }
}
