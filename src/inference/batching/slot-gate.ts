/** Runs a fixed number of tasks at once; the others wait, first come first served. */
export class SlotGate {
  readonly #waiting: (() => void)[] = []
  #free: number

  constructor(slots: number) {
    this.#free = slots
  }

  /** Runs `task` when a slot is free. Throws the signal's reason when aborted before that. */
  async hold<T>(signal: AbortSignal | undefined, task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      signal?.throwIfAborted()
      return await task()
    } finally {
      this.#pass()
    }
  }

  #pass(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free += 1
    else next()
  }
}
