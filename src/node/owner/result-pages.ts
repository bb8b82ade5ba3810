import { createHash } from 'node:crypto'
import type { Cancel, Clock } from '../../base/clock.ts'
import { HearthError } from '../../base/errors.ts'
import { nextTurn } from '../../base/event-loop.ts'
import { RESULT_PAGE_BYTES_MAX, RESULT_READERS_MAX } from '../../base/limits.ts'
import { outputLine } from '../../tasks/journal/output-file.ts'
import { readJournal, type JobFolder } from '../jobs/job-folder.ts'
import { RESULT_READER_IDLE_MS } from './timings.ts'

/** A part of an output file, and, with the last one, the length and hash of the whole. */
export interface ResultPage {
  bytes: Uint8Array
  /** SHA-256, as hex. */
  end?: { bytes: number; sha256: string } | undefined
}

/** Lines that are read in one turn of the event loop. */
const LINES_PER_TURN = 64

/**
 * Output files in pages, made from the journal as it was at the first page. A reader is kept from one page
 * to the next, for a while, so that the journal is read once.
 */
export class ResultPages {
  readonly #clock: Clock
  /** Readers between two pages, oldest first. */
  readonly #waiting = new Map<Reader, Cancel>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The page that begins at a byte. Throws `stream-closed` when an unfinished job has gone on since the page before. */
  async page(folder: JobFolder, at: number): Promise<ResultPage> {
    const reader = this.#take(folder.jobId, at) ?? new Reader(folder)
    try {
      if (reader.offset < at) await reader.skipTo(at)
      const page = await reader.next()
      if (page.end === undefined) this.#keep(reader)
      else reader.close()
      return page
    } catch (error) {
      reader.close()
      throw error
    }
  }

  close(): void {
    for (const reader of this.#waiting.keys()) this.#drop(reader)
  }

  #take(jobId: string, at: number): Reader | undefined {
    for (const [reader, cancel] of this.#waiting) {
      if (reader.jobId !== jobId || reader.offset !== at) continue
      cancel()
      this.#waiting.delete(reader)
      return reader
    }
    return undefined
  }

  #keep(reader: Reader): void {
    const [oldest] = this.#waiting.keys()
    if (oldest !== undefined && this.#waiting.size >= RESULT_READERS_MAX) this.#drop(oldest)
    const drop = (): void => this.#drop(reader)
    this.#waiting.set(reader, this.#clock.schedule(RESULT_READER_IDLE_MS, drop, { background: true }))
  }

  #drop(reader: Reader): void {
    this.#waiting.get(reader)?.()
    this.#waiting.delete(reader)
    reader.close()
  }
}

/** One walk over the lines of a journal. */
class Reader {
  readonly jobId: string
  /** Where the next page begins, bytes. */
  offset = 0
  readonly #journal: ReturnType<typeof readJournal>
  readonly #lines: ReturnType<ReturnType<typeof readJournal>['lines']>
  readonly #isSettled: boolean
  readonly #hash = createHash('sha256')
  /** Bytes that were read and belong to the next page. */
  #ahead = Buffer.alloc(0)

  constructor(folder: JobFolder) {
    this.jobId = folder.jobId
    this.#journal = readJournal(folder)
    const { committed, requests } = this.#journal.counts()
    this.#isSettled = committed === requests
    this.#lines = this.#journal.lines()
  }

  /** Only a settled job has the same bytes at the same place later. */
  async skipTo(at: number): Promise<void> {
    if (!this.#isSettled)
      throw new HearthError(
        'stream-closed',
        `job ${this.jobId} went on meanwhile: read it from its beginning`,
      )
    for (let hasMore = true; hasMore && this.offset < at;) {
      hasMore = await this.#read(at - this.offset)
      const skipped = Math.min(this.#ahead.byteLength, at - this.offset)
      this.#ahead = this.#ahead.subarray(skipped)
      this.offset += skipped
    }
    if (this.offset < at)
      throw new HearthError('stream-closed', `the results of job ${this.jobId} end at byte ${this.offset}`)
  }

  async next(): Promise<ResultPage> {
    const hasMore = await this.#read(RESULT_PAGE_BYTES_MAX)
    const bytes = Uint8Array.from(this.#ahead.subarray(0, RESULT_PAGE_BYTES_MAX))
    this.#ahead = this.#ahead.subarray(bytes.byteLength)
    this.offset += bytes.byteLength
    if (hasMore || this.#ahead.byteLength > 0) return { bytes }
    return { bytes, end: { bytes: this.offset, sha256: this.#hash.digest('hex') } }
  }

  close(): void {
    this.#journal.close()
  }

  /** Reads until so many bytes are ahead; false when the lines end. */
  async #read(bytes: number): Promise<boolean> {
    const parts = [this.#ahead]
    let ahead = this.#ahead.byteLength
    for (let lines = 1; ahead < Math.min(bytes, RESULT_PAGE_BYTES_MAX); lines += 1) {
      const { value, done } = this.#lines.next()
      if (done === true) break
      const line = Buffer.from(`${outputLine(this.jobId, value)}\n`)
      this.#hash.update(line)
      parts.push(line)
      ahead += line.byteLength
      if (lines % LINES_PER_TURN === 0) await nextTurn()
    }
    const isEnd = ahead < Math.min(bytes, RESULT_PAGE_BYTES_MAX)
    this.#ahead = Buffer.concat(parts)
    return !isEnd
  }
}
