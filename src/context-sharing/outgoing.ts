import type { MessageStream } from '../base/message-stream.ts'
import { CHUNK_RANGES_MAX } from '../base/limits.ts'
import { type ChunkRange, toRanges } from './bitfield.ts'
import { SEND_DEADLINE_MS } from './messages.ts'

/**
 * The sending side of one stream: one thing at a time, so that raw bytes stay with the message that
 * announces them. Chunk numbers to tell are gathered while something else is being sent.
 */
export class Outgoing {
  readonly #stream: MessageStream
  readonly #signal: AbortSignal
  #turn: Promise<unknown> = Promise.resolve()
  /** Chunks to tell of, by the type of message that tells of them. */
  readonly #gathered = new Map<'have' | 'claim', Set<number>>()

  constructor(stream: MessageStream, signal: AbortSignal) {
    this.#stream = stream
    this.#signal = signal
  }

  /** Sends a message, and `bytes` after it, in its turn. Throws what MessageStream does. */
  async send(message: object, bytes?: Uint8Array): Promise<void> {
    const options = { deadlineMs: SEND_DEADLINE_MS, signal: this.#signal }
    await this.#inTurn(async () => {
      await this.#stream.send(message, options)
      if (bytes !== undefined) await this.#stream.sendBytes(bytes, options)
    })
  }

  /** Tells of chunks together with others that come up before its turn. Errors end the stream; its reader sees them. */
  tell(type: 'have' | 'claim', chunks: Iterable<number>): void {
    const waiting = this.#gathered.get(type)
    if (waiting !== undefined) {
      for (const chunk of chunks) waiting.add(chunk)
      return
    }
    this.#gathered.set(type, new Set(chunks))
    this.post(() => this.#sendGathered(type))
  }

  /** Does `work` in its turn, without anybody waiting for it: a failure ends the stream. */
  post(work: () => Promise<void>): void {
    this.#inTurn(work).catch((error: unknown) => this.#stream.abort(error as Error))
  }

  async #sendGathered(type: 'have' | 'claim'): Promise<void> {
    const chunks = this.#gathered.get(type) ?? []
    this.#gathered.delete(type)
    for (const ranges of inPages(toRanges(chunks))) {
      await this.#stream.send({ type, ranges }, { deadlineMs: SEND_DEADLINE_MS, signal: this.#signal })
    }
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work)
    this.#turn = run.catch(() => {})
    return await run
  }
}

/** At least one page, so that nothing to tell of is still a sign of life. */
function inPages(ranges: ChunkRange[]): ChunkRange[][] {
  const pages: ChunkRange[][] = []
  for (let from = 0; from === 0 || from < ranges.length; from += CHUNK_RANGES_MAX) {
    pages.push(ranges.slice(from, from + CHUNK_RANGES_MAX))
  }
  return pages
}
