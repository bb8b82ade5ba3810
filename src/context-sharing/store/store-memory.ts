import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import type { Cancel, Clock } from '../../base/clock.ts'
import { HearthError } from '../../base/errors.ts'
import { Turns } from '../../base/waiting/turns.ts'
import { replaceFile } from '../disk/disk.ts'
import { contextIdSchema } from '../content/manifest.ts'

/** Shortest interval between writes of uses and scrub positions, ms; losing the last of them is harmless. */
const SAVE_EVERY_MS = 60_000

/** Free space to keep: a number of bytes, or a share of the file system. */
export type KeepFree = { bytes: number } | { share: number }

/** The scrub's position: the last finished file, and the number of finished chunks of the next. */
export interface ScrubPosition {
  /** Grid key of the file that is being read; '' before the first. */
  file: string
  chunk: number
}

export interface ContextMemory {
  isPinned: boolean
  /** When it was last used, ms since the Unix epoch. */
  usedAtMs: number
}

/** Bytes sent in a month, those counted ahead included. */
export interface UploadMemory {
  month: string
  bytes: number
}

interface Memory {
  version: 1
  quotaBytes?: number | undefined
  keepFree?: KeepFree | undefined
  contexts: Record<string, ContextMemory>
  scrub?: ScrubPosition | undefined
  upload?: UploadMemory | undefined
}

const bytes = z.int().min(0)
const memorySchema: z.ZodType<Memory> = z.strictObject({
  version: z.literal(1),
  quotaBytes: bytes.optional(),
  keepFree: z
    .union([z.strictObject({ bytes }), z.strictObject({ share: z.number().min(0).max(1) })])
    .optional(),
  contexts: z.record(contextIdSchema, z.strictObject({ isPinned: z.boolean(), usedAtMs: z.number() })),
  scrub: z.strictObject({ file: z.string().max(128), chunk: z.int().min(0) }).optional(),
  upload: z.strictObject({ month: z.string().max(16), bytes }).optional(),
})

/**
 * The store's memory beside its files, in one JSON file that is replaced whole: its bounds, which
 * contexts are pinned, when each was used, how far the scrub is.
 */
export class StoreMemory {
  readonly #clock: Clock
  readonly #path: string
  #memory: Memory = { version: 1, contexts: {} }
  #cancelSave: Cancel | undefined
  readonly #turns = new Turns()

  constructor(clock: Clock, path: string) {
    this.#clock = clock
    this.#path = path
  }

  /** Throws `data-corrupt`. */
  async load(): Promise<void> {
    const text = await readFile(this.#path, 'utf8').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    })
    this.#memory = text === undefined ? { version: 1, contexts: {} } : this.#parse(text)
  }

  /** Writes what has not been written. */
  async close(): Promise<void> {
    if (this.#cancelSave !== undefined) await this.#save()
  }

  get bounds(): { quotaBytes: number | undefined; keepFree: KeepFree | undefined } {
    return { quotaBytes: this.#memory.quotaBytes, keepFree: this.#memory.keepFree }
  }

  async setBounds(bounds: { quotaBytes?: number; keepFree?: KeepFree }): Promise<void> {
    Object.assign(this.#memory, bounds)
    await this.#save()
  }

  get(contextId: string): ContextMemory {
    return this.#memory.contexts[contextId] ?? { isPinned: false, usedAtMs: 0 }
  }

  async setPinned(contextId: string, isPinned: boolean): Promise<void> {
    this.#memory.contexts[contextId] = { ...this.get(contextId), isPinned }
    await this.#save()
  }

  /** Notes that the context is used now; on disk within a minute. */
  use(contextId: string): void {
    this.#memory.contexts[contextId] = { ...this.get(contextId), usedAtMs: this.#clock.wallMs() }
    this.#saveSoon()
  }

  async forget(contextId: string): Promise<void> {
    if (this.#memory.contexts[contextId] === undefined) return
    this.#memory.contexts = Object.fromEntries(
      Object.entries(this.#memory.contexts).filter(([id]) => id !== contextId),
    )
    await this.#save()
  }

  get scrub(): ScrubPosition {
    return this.#memory.scrub ?? { file: '', chunk: 0 }
  }

  /** On disk within a minute. */
  setScrub(position: ScrubPosition): void {
    this.#memory.scrub = position
    this.#saveSoon()
  }

  get upload(): UploadMemory {
    return this.#memory.upload ?? { month: '', bytes: 0 }
  }

  async setUpload(upload: UploadMemory): Promise<void> {
    this.#memory.upload = upload
    await this.#save()
  }

  #parse(text: string): Memory {
    try {
      return memorySchema.parse(JSON.parse(text))
    } catch (cause) {
      throw new HearthError(
        'data-corrupt',
        `${this.#path} is damaged: delete the file. The contexts stay; set pins and --store-quota again`,
        { cause },
      )
    }
  }

  #saveSoon(): void {
    this.#cancelSave ??= this.#clock.schedule(
      SAVE_EVERY_MS,
      () => {
        // A full disk must not stop the store; the next save tries again.
        this.#save().catch(() => {})
      },
      { background: true },
    )
  }

  async #save(): Promise<void> {
    this.#cancelSave?.()
    this.#cancelSave = undefined
    await this.#turns.run(() => this.#replace())
  }

  async #replace(): Promise<void> {
    const text = `${JSON.stringify(this.#memory, null, 2)}\n`
    await replaceFile(this.#path, `${this.#path}.new`, new TextEncoder().encode(text))
  }
}
