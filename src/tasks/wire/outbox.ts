import type { MessageStream, WaitOptions } from '../../base/stream/message-stream.ts'
import { wireForm, type SubmitterMessage, type WorkerMessage } from './task-messages.ts'

/** Makes a message when its turn has come; undefined when there is nothing left to send. */
export type MakeMessage = () => SubmitterMessage | WorkerMessage | undefined

/** Messages prepared before the stream can take them. */
const TOGETHER_MAX = 4

/**
 * Messages on their way out of one stream, in order, so that a slow peer holds back what is sent to it and not
 * our memory. `makeMessage` runs when its turn has come; those that were queued by then leave in one write.
 */
export class Outbox {
  readonly #stream: MessageStream
  readonly #wait: WaitOptions
  readonly #onError: (error: Error) => void
  readonly #queue: MakeMessage[] = []
  #sending: Promise<void> | undefined

  constructor(stream: MessageStream, wait: WaitOptions, onError: (error: Error) => void) {
    this.#stream = stream
    this.#wait = wait
    this.#onError = onError
  }

  /** Queues a message; undefined from `makeMessage` sends nothing. A failure is reported, never thrown. */
  push(makeMessage: MakeMessage): void {
    this.#queue.push(makeMessage)
    this.#sending ??= this.#send()
  }

  /** Resolves when every queued message is sent or has failed. */
  async flushed(): Promise<void> {
    await this.#sending
  }

  async #send(): Promise<void> {
    // Messages queued later in the same turn leave in the same write.
    await Promise.resolve()
    while (this.#queue.length > 0) {
      const makers = this.#queue.splice(0, TOGETHER_MAX)
      if (this.#stream.isClosed) continue
      try {
        const messages = makers.map((makeMessage) => makeMessage()).filter((message) => message !== undefined)
        if (messages.length > 0) await this.#stream.sendTogether(messages.map(wireForm), this.#wait)
      } catch (error) {
        this.#onError(error as Error)
      }
    }
    this.#sending = undefined
  }
}
