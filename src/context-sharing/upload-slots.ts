import type { Clock } from '../base/clock.ts'

/** Lets a bounded number of chunks be read and sent at once; the others wait in the order they came. */
export class UploadSlots {
  readonly #clock: Clock
  #free: number
  #waiting: ((isGranted: boolean) => void)[] = []

  constructor(clock: Clock, count: number) {
    this.#clock = clock
    this.#free = count
  }

  /** Takes a slot; false when none came free within `waitMs`. Whoever got one gives it back with `release`. */
  async acquire(waitMs: number): Promise<boolean> {
    if (this.#free > 0) {
      this.#free -= 1
      return true
    }
    return await new Promise((resolve) => {
      const settle = (isGranted: boolean): void => {
        cancel()
        resolve(isGranted)
      }
      const cancel = this.#clock.schedule(waitMs, () => {
        this.#waiting = this.#waiting.filter((other) => other !== settle)
        settle(false)
      })
      this.#waiting.push(settle)
    })
  }

  release(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free += 1
    else next(true)
  }
}
