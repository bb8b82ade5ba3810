import { appendFile, mkdir, rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Cancel, Clock } from './clock.ts'

/** One decision or transition: what, and the values to understand it by. */
export type LoggedEvent = { kind: string } & Record<string, unknown>

/** Where events go. */
export interface EventSink {
  add(event: LoggedEvent): void
}

export interface EventLogOptions {
  /** What the first line of the file says: the name of the log and the version of its events. */
  schema: { log: string; version: number } & Record<string, unknown>
  /** How long events may wait in memory before they are written, ms. */
  flushEveryMs: number
  /** Events kept in memory while the disk is slow; of more, only their number is logged. */
  waitingMax: number
  /** A file of this many bytes is moved to `PATH.old`, and a new one begun. Without it, it grows. */
  fileBytesMax?: number
}

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
  #writing: Promise<void> = Promise.resolve()

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
    else this.#push({ t: Math.round((this.#clock.nowMs() - this.#openedAtMs) * 10) / 10, ...event })
  }

  /** Writes what waits. */
  async close(): Promise<void> {
    this.#flush()
    await this.#writing
  }

  #header(): object {
    return { schema: this.#options.schema, openedAt: this.#openedAtWallMs }
  }

  #push(line: object): void {
    this.#waiting.push(JSON.stringify(line))
    this.#cancelFlush ??= this.#clock.schedule(this.#options.flushEveryMs, () => this.#flush(), {
      background: true,
    })
  }

  #flush(): void {
    this.#cancelFlush?.()
    this.#cancelFlush = undefined
    if (this.#waiting.length === 0) return
    const text = `${this.#waiting.join('\n')}\n`
    this.#waiting = []
    this.#writing = this.#writing.then(() => this.#append(text))
  }

  /** Moves a full file aside; true when it did, so that the new one has to begin with the schema. */
  async #makeRoom(): Promise<boolean> {
    const { fileBytesMax } = this.#options
    if (fileBytesMax === undefined) return false
    const size = await stat(this.#path).then(
      (stats) => stats.size,
      () => 0,
    )
    if (size < fileBytesMax) return false
    await rename(this.#path, `${this.#path}.old`)
    return true
  }

  async #append(text: string): Promise<void> {
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 })
      const isNew = await this.#makeRoom()
      await appendFile(this.#path, isNew ? `${JSON.stringify(this.#header())}\n${text}` : text, {
        mode: 0o600,
      })
      if (this.#dropped === 0) return
      const dropped = this.#dropped
      this.#dropped = 0
      this.add({ kind: 'events-dropped', events: dropped })
    } catch {
      // A log that cannot be written must not stop what it tells of: the journal is the truth.
      this.#dropped += text.split('\n').length - 1
    }
  }
}
