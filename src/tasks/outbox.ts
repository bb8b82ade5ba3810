import type { MessageStream, WaitOptions } from '../base/message-stream.ts'

/**
 * Messages on their way out of one stream, in order, one at a time, so that a slow peer holds back
 * what is sent to it and not our memory. `makeMessage` runs when its turn has come.
 */
export class Outbox {
  #stream: MessageStream
  #wait: WaitOptions
  #tail: Promise<void> = Promise.resolve()
  #onError: (error: Error) => void

  constructor(stream: MessageStream, wait: WaitOptions, onError: (error: Error) => void) {
    this.#stream = stream
    this.#wait = wait
    this.#onError = onError
  }

  /** Queues a message; undefined from `makeMessage` sends nothing. A failure is reported once per message, never thrown. */
  push(makeMessage: () => object | undefined): void {
    const before = this.#tail
    this.#tail = this.#sendAfter(before, makeMessage)
  }

  async #sendAfter(before: Promise<void>, makeMessage: () => object | undefined): Promise<void> {
    await before
    if (this.#stream.isClosed) return
    try {
      const message = makeMessage()
      if (message !== undefined) await this.#stream.send(message, this.#wait)
    } catch (error) {
      this.#onError(error as Error)
    }
  }

  /** Resolves when all that was queued before is sent or has failed. */
  flushed(): Promise<void> {
    return this.#tail
  }
}
