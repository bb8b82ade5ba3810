import { type FileHandle, mkdir, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Cancel, Clock } from '../clock.ts'
import { LineWriter } from './line-writer.ts'

/** One decision or transition: what, and the values to understand it by. */
export type LoggedEvent = { kind: string } & Record<string, unknown>

/** Where events go. */
export interface EventSink {
  add(event: LoggedEvent): void
}

export interface EventLogOptions {
  /** The content of the file's first line: the name of the log and the version of its events. */
  schema: { log: string; version: number } & Record<string, unknown>
  /** How long events may wait in memory before they are written, ms. */
  flushEveryMs: number
  /** Events kept in memory while the disk is slow; of more, only their number is logged. */
  waitingMax: number
  /** A file of this many bytes is moved to `PATH.old`, and a new one begun. Without it, it grows. */
  fileBytesMax?: number
}

/** With so many lines waiting they are written at once: what waits long in memory is costly to collect. */
const LINES_AT_ONCE = 1_024

/**
 * An NDJSON file of events: docs/protocol/event-log.md. Its first line says the schema; every other
 * has `t`, ms since the log was opened. Writing never delays whoever logs, and never fails it.
 */
export class EventLog implements EventSink {
  readonly #clock: Clock
  readonly #path: string
  readonly #options: EventLogOptions
  readonly #openedAtMs: number
  readonly #openedAtWallMs: number
  #waiting: string[] = []
  #dropped = 0
  #cancelFlush: Cancel | undefined
  #writing: Promise<void> | undefined
  /** Kept open: a busy process has few turns of its event loop to spare for each write. */
  #file: OpenFile | undefined

  constructor(clock: Clock, path: string, options: EventLogOptions) {
    this.#clock = clock
    this.#path = path
    this.#options = options
    this.#openedAtMs = clock.nowMs()
    this.#openedAtWallMs = clock.wallMs()
    this.#push(this.#header())
  }

  add(event: LoggedEvent): void {
    if (this.#waiting.length >= this.#options.waitingMax) this.#dropped += 1
    else this.#push(this.#timed(event))
  }

  /** Writes what waits. The log may be used again. */
  async close(): Promise<void> {
    do {
      this.#flush()
      await this.#writing
    } while (this.#waiting.length > 0 || this.#writing !== undefined)
    await this.#closeFile()
  }

  #timed(event: LoggedEvent): object {
    return { t: Math.round((this.#clock.nowMs() - this.#openedAtMs) * 10) / 10, ...event }
  }

  #header(): object {
    return { schema: this.#options.schema, openedAt: this.#openedAtWallMs }
  }

  #push(line: object): void {
    this.#waiting.push(JSON.stringify(line))
    if (this.#waiting.length >= LINES_AT_ONCE) this.#flush()
    else this.#flushLater()
  }

  #flushLater(): void {
    this.#cancelFlush ??= this.#clock.schedule(this.#options.flushEveryMs, () => this.#flush(), {
      background: true,
    })
  }

  /** Writes what waits, unless a write is under way: what comes meanwhile waits within its bound. */
  #flush(): void {
    this.#cancelFlush?.()
    this.#cancelFlush = undefined
    if (this.#waiting.length === 0 || this.#writing !== undefined) return
    const lines = this.#waiting
    this.#waiting = []
    this.#writing = this.#write(lines)
  }

  async #write(lines: readonly string[]): Promise<void> {
    await this.#append(lines)
    this.#writing = undefined
    if (this.#waiting.length > 0) this.#flushLater()
  }

  async #append(lines: readonly string[]): Promise<void> {
    try {
      const { writer } = await this.#fileWithRoom()
      for (const line of lines) await writer.add(line)
      await writer.flush()
      if (this.#dropped === 0) return
      const dropped = this.#dropped
      this.#dropped = 0
      this.#push(this.#timed({ kind: 'events-dropped', events: dropped }))
    } catch {
      // A failing log must not stop the job, because only the journal must be complete.
      this.#dropped += lines.length
    }
  }

  /** The file to append to; one that is full is moved aside, and the new one begins with the schema. */
  async #fileWithRoom(): Promise<OpenFile> {
    const { fileBytesMax = Infinity } = this.#options
    const file = this.#file ?? (await this.#openFile())
    if (file.bytesBefore + file.writer.bytes < fileBytesMax) return file
    await this.#closeFile()
    await rename(this.#path, `${this.#path}.old`)
    const fresh = await this.#openFile()
    await fresh.writer.add(JSON.stringify(this.#header()))
    return fresh
  }

  async #openFile(): Promise<OpenFile> {
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 })
    const handle = await open(this.#path, 'a', 0o600)
    const { size } = await handle.stat()
    this.#file = { handle, bytesBefore: size, writer: new LineWriter(handle) }
    return this.#file
  }

  async #closeFile(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.handle.close()
  }
}

interface OpenFile {
  handle: FileHandle
  writer: LineWriter
  bytesBefore: number
}
