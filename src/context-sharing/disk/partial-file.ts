import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { HearthError } from '../../base/errors.ts'
import { Turns } from '../../base/waiting/turns.ts'
import { Bitfield } from '../content/bitfield.ts'
import { ChunkJournal, type JournalContent, type JournalIdentity, readJournal } from './chunk-journal.ts'
import { type ChunkMap, fileChunks } from '../content/chunk-map.ts'
import { type WritableAt, bytesEqual, readAt, sha256, sha256InTurns, writeAt } from './disk.ts'
import { asStorageError } from '../../base/storage-errors.ts'
import type { ContextFile } from '../content/manifest.ts'
import { type OpenFiles, closeBoth, openSparse, sync } from './open-files.ts'
import { type StorePaths, gridKeyOf } from './store-paths.ts'

/** Bytes written between two syncs. Measured: a sync per 64 MiB costs nothing, one per MiB a third. */
const SYNC_BYTES = 64 * 1024 * 1024

export interface PartialFileComponents {
  paths: StorePaths
  /** Names this run of the operating system; '' where it cannot be known. */
  bootId: string
  /** Wraps the data file's writes; tests make it run out of room. */
  writable?: ((file: FileHandle) => WritableAt) | undefined
  /** Called before bytes are written; throws `disk-full` when they should not be. */
  guard?: ((bytes: number) => Promise<void>) | undefined
}

/**
 * A file of which some chunks are on disk. A chunk is held once its hash was checked, its bytes are
 * written and the journal says so: that order makes every claim true after a crash. When the last chunk
 * is held, the file is sealed: moved to the blobs.
 */
export class PartialFile {
  readonly file: ContextFile
  readonly held: Bitfield
  readonly #map: ChunkMap
  readonly #components: PartialFileComponents
  readonly #identity: JournalIdentity
  /** The journal's content when it was read; undefined when it is to be made anew with `held`. */
  #resumable: JournalContent | undefined
  #open: Promise<OpenFiles> | undefined
  readonly #turns = new Turns()
  #unsyncedBytes = 0
  #sealing: Promise<void> | undefined
  #isSealed = false
  /** Chunks that were hashed since this was made, and not only said to be right by a journal. */
  readonly #checked: Bitfield
  /** Writes under way by chunk, so that two copies of a chunk that arrive together are written once. */
  readonly #writing = new Map<number, Promise<boolean>>()
  #listeners = new Set<(indexInFile: number) => void>()

  private constructor(components: PartialFileComponents, file: ContextFile, identity: JournalIdentity) {
    this.#components = components
    this.file = file
    this.#map = fileChunks(file)
    this.held = new Bitfield(this.#map.count)
    this.#checked = new Bitfield(this.#map.count)
    this.#identity = identity
  }

  /** Finds out what is on disk, hashing again what the journal cannot vouch for. */
  static async load(components: PartialFileComponents, file: ContextFile): Promise<PartialFile> {
    const identity = { bootId: components.bootId, gridKey: gridKeyOf(file) }
    const partial = new PartialFile(components, file, identity)
    const content = await readJournal(components.paths.journal(file), identity)
    if (content !== undefined) await partial.#recover(content)
    return partial
  }

  /** Calls `listener` for every chunk that becomes held; returns how to stop that. */
  onHeld(listener: (indexInFile: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Checks and stores one chunk; once this resolves it survives the death of the process.
   * False when it was held already. Throws `chunk-corrupt` or `disk-full`; then nothing is claimed.
   */
  async write(indexInFile: number, bytes: Uint8Array): Promise<boolean> {
    const chunk = this.#map.chunk(indexInFile)
    if (bytes.byteLength !== chunk.length || !bytesEqual(await sha256InTurns(bytes), chunk.sha256)) {
      throw new HearthError(
        'chunk-corrupt',
        `chunk ${indexInFile} of ${this.file.path} does not have the hash in its manifest`,
        { data: { path: this.file.path, chunk: indexInFile } },
      )
    }
    if (this.held.has(indexInFile)) return false
    const underWay = this.#writing.get(indexInFile)
    if (underWay !== undefined) return await underWay.then(() => false)
    const writing = this.#writeVerified(indexInFile, chunk.offset, bytes)
    this.#writing.set(indexInFile, writing)
    return await writing.finally(() => this.#writing.delete(indexInFile))
  }

  /** The bytes of a held chunk, as they are on disk, in `buffer` if there is one; the caller checks their hash. */
  async read(indexInFile: number, buffer?: Uint8Array): Promise<Uint8Array> {
    const { offset, length } = this.#map.chunk(indexInFile)
    const opened = await this.#open?.catch(() => undefined)
    // It may be sealed, and its files closed, by the time that this gets to read them.
    const bytes = await (opened && readAt(opened.data, offset, length, buffer).catch(() => undefined))
    if (bytes !== undefined) return bytes
    const file = await this.#openForReading()
    try {
      return await readAt(file, offset, length, buffer)
    } finally {
      await file.close()
    }
  }

  /**
   * Makes a blob of a file whose chunks are all held; its name is durable once its folder is synced. Throws `data-corrupt`
   * when the disk does not have chunks any more that an earlier process verified.
   */
  async seal(): Promise<void> {
    this.#sealing ??= this.#turns
      .run(() => this.#seal())
      .catch((error: unknown) => {
        this.#sealing = undefined
        throw error
      })
    await this.#sealing
  }

  /** Hashes again what is held, and drops the claim to what the disk has not right; says how many those were. */
  async recheck(): Promise<number> {
    return await this.#turns.run(async () => {
      const opened = await this.#open
      const lost = await this.#dropDamagedChunks()
      if (opened === undefined || lost === 0) return lost
      await opened.journal.close()
      const journal = await ChunkJournal.create(
        this.#components.paths.journal(this.file),
        this.#identity,
        this.held,
      )
      this.#open = Promise.resolve({ data: opened.data, journal })
      return lost
    })
  }

  /** Waits for writes under way and lets go of the files. Writing again opens them again. */
  async close(): Promise<void> {
    await this.#sealing?.catch(() => {})
    await this.#turns.run(async () => {
      const opened = this.#open
      this.#open = undefined
      this.#resumable = undefined
      if (opened === undefined || this.#isSealed) return
      const files = await opened
      await closeBoth(files, () => sync(files))
    })
  }

  async #recover(content: JournalContent): Promise<void> {
    const data = await open(this.#components.paths.part(this.file), 'r').catch(() => undefined)
    if (data === undefined) return
    try {
      if ((await data.stat()).size !== this.file.size) return
      for (const chunk of content.durable) this.#recovered(chunk)
      for (const chunk of content.written) {
        if (content.sameBoot || (await this.#isOnDisk(data, chunk))) this.#recovered(chunk)
      }
      if (content.sameBoot) this.#resumable = content
    } finally {
      await data.close()
    }
  }

  #recovered(chunk: number): void {
    if (chunk < this.#map.count) this.held.add(chunk)
  }

  async #isOnDisk(data: FileHandle, indexInFile: number): Promise<boolean> {
    if (indexInFile >= this.#map.count) return false
    const chunk = this.#map.chunk(indexInFile)
    const isRight = bytesEqual(await sha256(await readAt(data, chunk.offset, chunk.length)), chunk.sha256)
    if (isRight) this.#checked.add(indexInFile)
    else this.#checked.delete(indexInFile)
    return isRight
  }

  #openFiles(): Promise<OpenFiles> {
    this.#open ??= this.#openBoth().catch((error: unknown) => {
      this.#open = undefined
      throw asStorageError(error, this.#components.paths.part(this.file))
    })
    return this.#open
  }

  /** Chunks recovered from an older boot are synced before a new journal calls them durable. */
  async #openBoth(): Promise<OpenFiles> {
    const { paths } = this.#components
    const data = await openSparse(paths.part(this.file), this.file.size)
    try {
      const content = this.#resumable
      if (content === undefined) await data.datasync()
      const journal =
        content === undefined
          ? await ChunkJournal.create(paths.journal(this.file), this.#identity, this.held)
          : await ChunkJournal.resume(paths.journal(this.file), this.#identity, content)
      return { data, journal }
    } catch (error) {
      await data.close()
      throw error
    }
  }

  async #writeVerified(indexInFile: number, offset: number, bytes: Uint8Array): Promise<boolean> {
    await this.#components.guard?.(bytes.byteLength)
    const { data } = await this.#openFiles()
    try {
      await writeAt(this.#components.writable?.(data) ?? data, offset, bytes)
    } catch (error) {
      throw asStorageError(error, this.#components.paths.part(this.file))
    }
    await this.#turns.run(() => this.#claim(indexInFile, bytes.byteLength))
    return true
  }

  /** Looks up the journal in its turn: `recheck` may have made it anew. */
  async #claim(indexInFile: number, bytes: number): Promise<void> {
    const files = await this.#openFiles()
    await files.journal.written(indexInFile)
    this.#checked.add(indexInFile)
    this.held.add(indexInFile)
    for (const listener of this.#listeners) listener(indexInFile)
    this.#unsyncedBytes += bytes
    if (this.#unsyncedBytes >= SYNC_BYTES && !this.held.isFull) {
      await sync(files)
      this.#unsyncedBytes = 0
    }
  }

  async #seal(): Promise<void> {
    if (!this.held.isFull) {
      throw this.#damaged(this.held.size - this.held.count)
    }
    const { paths } = this.#components
    const files = await this.#openFiles()
    await closeBoth(files, () => files.data.datasync())
    this.#open = undefined
    if (!this.#checked.isFull) await this.#requireUnchecked()
    await rename(paths.part(this.file), paths.blob(this.file))
    this.#isSealed = true
    await rm(paths.journal(this.file), { force: true })
  }

  /** Chunks that only a journal vouches for are hashed. */
  async #requireUnchecked(): Promise<void> {
    const lost = await this.#dropDamagedChunks((chunk) => !this.#checked.has(chunk))
    if (lost > 0) throw this.#damaged(lost)
  }

  /** Hashes chunks again; the journal is made anew without those that the disk does not have right. */
  async #dropDamagedChunks(isDoubtful: (chunk: number) => boolean = () => true): Promise<number> {
    const { paths } = this.#components
    const data = await open(paths.part(this.file), 'r')
    const before = this.held.count
    try {
      for (const chunk of this.held) {
        if (isDoubtful(chunk) && !(await this.#isOnDisk(data, chunk))) this.held.delete(chunk)
      }
    } finally {
      await data.close()
    }
    if (before === this.held.count) return 0
    this.#resumable = undefined
    const journal = await ChunkJournal.create(paths.journal(this.file), this.#identity, this.held)
    await journal.close()
    return before - this.held.count
  }

  #damaged(chunks: number): HearthError {
    return new HearthError(
      'data-corrupt',
      `the disk lost ${chunks} chunks of ${this.file.path} after they were verified: check the disk, and fetch the context again (only the lost chunks are downloaded)`,
      { data: { path: this.file.path, chunks } },
    )
  }

  /** The file moves when it is sealed; whoever comes at that moment looks in the other place. */
  async #openForReading(): Promise<FileHandle> {
    const { paths } = this.#components
    try {
      return await open(this.#isSealed ? paths.blob(this.file) : paths.part(this.file), 'r')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return await open(paths.blob(this.file), 'r')
    }
  }
}
