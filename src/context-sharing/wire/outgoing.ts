import type { Cancel, Clock } from '../../base/clock.ts'
import type { MessageStream } from '../../base/stream/message-stream.ts'
import { CHUNK_RANGES_MAX } from '../../base/limits.ts'
import { Turns } from '../../base/waiting/turns.ts'
import { type ChunkRange, toRanges } from '../content/bitfield.ts'
import { SEND_DEADLINE_MS } from './messages.ts'

type Tidings = 'have' | 'claim'

export interface OutgoingOptions {
  /**
   * After a pause chunks are told of at once, and then those of so long together, ms. Each message costs both ends
   * about 0.1 ms: one for each chunk to each peer was a fifth of the work of a fast swarm.
   */
  tellEveryMs: Partial<Record<Tidings, number>>
}

/**
 * The sending side of one stream: one thing at a time, so that raw bytes stay with the message that
 * announces them. Chunk numbers to tell are gathered.
 */
export class Outgoing {
  readonly #clock: Clock
  readonly #stream: MessageStream
  readonly #tellEveryMs: OutgoingOptions['tellEveryMs']
  readonly #signal: AbortSignal
  readonly #turns = new Turns()
  /** Chunks to tell of, by the type of message that tells of them. */
  readonly #gathered = new Map<Tidings, Set<number>>()
  /** When what is gathered may be told. */
  readonly #tellFromMs = new Map<Tidings, number>()
  readonly #cancels = new Map<Tidings, Cancel>()

  constructor(
    { clock, stream }: { clock: Clock; stream: MessageStream },
    { tellEveryMs }: OutgoingOptions,
    signal: AbortSignal,
  ) {
    this.#clock = clock
    this.#stream = stream
    this.#tellEveryMs = tellEveryMs
    this.#signal = signal
  }

  /** Sends a message, and `bytes` after it, in its turn. Throws what MessageStream does. */
  async send(message: object, bytes?: Uint8Array): Promise<void> {
    const options = { deadlineMs: SEND_DEADLINE_MS, signal: this.#signal }
    await this.#turns.run(async () => {
      await this.#stream.send(message, options)
      if (bytes !== undefined) await this.#stream.sendBytes(bytes, options)
    })
  }

  /** Tells of chunks, together with others that come up soon. Errors end the stream; its reader sees them. */
  tell(type: Tidings, chunks: Iterable<number>): void {
    const waiting = this.#gathered.get(type)
    if (waiting !== undefined) {
      for (const chunk of chunks) waiting.add(chunk)
      return
    }
    this.#gathered.set(type, new Set(chunks))
    const waitMs = (this.#tellFromMs.get(type) ?? 0) - this.#clock.nowMs()
    const tellNow = (): void => this.post(() => this.#sendGathered(type))
    if (waitMs <= 0) tellNow()
    else this.#cancels.set(type, this.#clock.schedule(waitMs, tellNow, { background: true }))
  }

  /** Tells now what is gathered. */
  flush(): void {
    this.end()
    for (const type of this.#gathered.keys()) this.post(() => this.#sendGathered(type))
  }

  /** Drops the gathered messages that are not told yet. */
  end(): void {
    for (const cancel of this.#cancels.values()) cancel()
    this.#cancels.clear()
  }

  /** Does `work` in its turn, without anybody waiting for it: a failure ends the stream. */
  post(work: () => Promise<void>): void {
    this.#turns.run(work).catch((error: unknown) => this.#stream.abort(error as Error))
  }

  async #sendGathered(type: Tidings): Promise<void> {
    this.#tellFromMs.set(type, this.#clock.nowMs() + (this.#tellEveryMs[type] ?? 0))
    const chunks = this.#gathered.get(type)
    this.#gathered.delete(type)
    if (chunks === undefined) return
    for (const ranges of inPages(toRanges(chunks))) {
      await this.#stream.send({ type, ranges }, { deadlineMs: SEND_DEADLINE_MS, signal: this.#signal })
    }
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
