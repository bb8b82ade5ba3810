import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/errors.ts'
import { CHUNK_BYTES } from '../../base/limits.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { StoreMemory } from '../store/store-memory.ts'

/** Counted ahead, so that a crash counts too much and never too little, bytes. */
const AHEAD_BYTES = 64 * 1024 * 1024

export interface UploadMonthComponents {
  clock: Clock
  memory: StoreMemory
  log: Logger
}

/** How much may still be sent in this calendar month (UTC). What is sent is written down before. */
export class UploadMonth {
  readonly #components: UploadMonthComponents
  readonly #limitBytes: number
  #month = ''
  /** Bytes of this month that are written down, and those of them that were sent. */
  #countedBytes = 0
  #sentBytes = 0
  #saving: Promise<void> | undefined
  /** Told when more may be sent than before. */
  onChange: () => void = () => {}

  constructor(components: UploadMonthComponents, limitBytes: number) {
    this.#components = components
    this.#limitBytes = limitBytes
  }

  /** Bytes that may be sent now. */
  get leftBytes(): number {
    this.#turnMonth()
    if (this.#countedBytes - this.#sentBytes < AHEAD_BYTES / 2) this.#countAhead()
    return this.#countedBytes - this.#sentBytes
  }

  /** Whether all of the month's bytes are sent: less than the largest chunk is left. */
  get isSpent(): boolean {
    return this.#limitBytes - this.#sentBytes < CHUNK_BYTES
  }

  get sentBytes(): number {
    this.#turnMonth()
    return this.#sentBytes
  }

  spend(bytes: number): void {
    this.#turnMonth()
    this.#sentBytes += bytes
  }

  #turnMonth(): void {
    const { clock, memory } = this.#components
    const month = monthOf(clock.wallMs())
    if (month === this.#month) return
    const remembered = memory.upload
    this.#month = month
    this.#sentBytes = remembered.month === month ? remembered.bytes : 0
    this.#countedBytes = this.#sentBytes
  }

  #countAhead(): void {
    const bytes = Math.min(this.#limitBytes, this.#sentBytes + AHEAD_BYTES)
    if (this.#saving !== undefined || bytes <= this.#countedBytes) return
    this.#saving = this.#save(this.#month, bytes).finally(() => {
      this.#saving = undefined
    })
  }

  async #save(month: string, bytes: number): Promise<void> {
    try {
      await this.#components.memory.setUpload({ month, bytes })
    } catch (error) {
      this.#components.log.error(
        { error: messageOf(error) },
        'cannot record the bytes sent this month; uploads stop until it works',
      )
      return
    }
    if (this.#month === month) this.#countedBytes = bytes
    this.onChange()
  }
}

/** "2026-11". */
function monthOf(wallMs: number): string {
  return new Intl.DateTimeFormat('en-CA', { timeZone: 'UTC', year: 'numeric', month: '2-digit' }).format(
    wallMs,
  )
}
