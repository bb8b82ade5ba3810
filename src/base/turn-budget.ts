import { onNextTurn } from './event-loop.ts'

/** A source of bytes that can be paused. */
export interface TurnSource {
  pauseForTurn(): void
  resumeAfterTurn(): void
}

/**
 * Bounds the bytes read in one turn of the event loop, over all sources. Without it, node reads a busy
 * socket 32 times in a row, and a task's message waits while 2 MiB are decrypted. Each source may exceed
 * the budget by one read.
 */
export class TurnBudget {
  readonly #bytesMax: number
  readonly #paused = new Set<TurnSource>()
  #bytes = 0
  #isCounting = false

  /** @param bytesMax of one turn */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Counts what `source` brought; with more than may come in this turn it is paused until the next. */
  spend(source: TurnSource, bytes: number): void {
    if (!this.#isCounting) {
      this.#isCounting = true
      onNextTurn(() => this.#renew())
    }
    this.#bytes += bytes
    if (this.#bytes < this.#bytesMax || this.#paused.has(source)) return
    this.#paused.add(source)
    source.pauseForTurn()
  }

  #renew(): void {
    this.#isCounting = false
    this.#bytes = 0
    const paused = [...this.#paused]
    this.#paused.clear()
    for (const source of paused) source.resumeAfterTurn()
  }
}
