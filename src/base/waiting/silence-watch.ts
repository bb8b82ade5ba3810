import type { Cancel, Clock } from '../clock.ts'
import { HearthError } from '../errors.ts'

export interface SilenceWatchOptions {
  /** The outer signal. */
  signal: AbortSignal
  /** Called at the start, and at each sign of life. */
  onHeard?: (() => void) | undefined
}

/** Aborts its signal when nothing is heard for `ms`, or when the outer signal is aborted. */
export class SilenceWatch {
  readonly #clock: Clock
  readonly #ms: number
  readonly #whose: string
  readonly #outer: AbortSignal
  readonly #onHeard: (() => void) | undefined
  readonly #stop = new AbortController()
  readonly #onOuterAbort = (): void => this.#stop.abort(this.#outer.reason)
  #cancel: Cancel = () => {}

  /** @param whose who is silent, as a noun phrase; it becomes part of the error */
  constructor(clock: Clock, ms: number, whose: string, { signal, onHeard }: SilenceWatchOptions) {
    this.#onHeard = onHeard
    this.#clock = clock
    this.#ms = ms
    this.#whose = whose
    this.#outer = signal
    if (signal.aborted) this.#onOuterAbort()
    else signal.addEventListener('abort', this.#onOuterAbort, { once: true })
    this.heard()
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  /** Starts the wait anew. */
  heard(): void {
    this.#onHeard?.()
    this.#cancel()
    this.#cancel = this.#clock.schedule(this.#ms, () =>
      this.#stop.abort(new HearthError('deadline-passed', `${this.#whose} sent nothing for ${this.#ms} ms`)),
    )
  }

  /** Passes on what arrives, each piece a sign of life. Throws `limit-reached` over `bytesMax`. */
  async *listen(chunks: AsyncIterable<Uint8Array>, bytesMax: number): AsyncGenerator<Uint8Array> {
    let bytes = 0
    for await (const chunk of chunks) {
      this.heard()
      bytes += chunk.byteLength
      if (bytes > bytesMax) {
        throw new HearthError('limit-reached', `${this.#whose} sent over ${bytesMax} bytes`)
      }
      yield chunk
    }
  }

  end(): void {
    this.#cancel()
    this.#outer.removeEventListener('abort', this.#onOuterAbort)
  }
}
