import { rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import type { Clock } from '../../base/clock.ts'
import { asStorageError, pathOf } from '../../base/storage-errors.ts'
import { HearthError, isHearthError } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import { Turns } from '../../base/waiting/turns.ts'
import { BlobStore } from '../disk/blob-store.ts'
import { readBootId } from './boot-id.ts'
import type { ContextEntry, Damage } from './context-entry.ts'
import { ContextNames, requireName } from './context-names.ts'
import type { WritableAt } from '../disk/disk.ts'
import type { HeldContext } from './held-context.ts'
import { HeldContexts } from './held-contexts.ts'
import {
  type FolderCopy,
  type ImportOptions,
  type ImportResult,
  copyFolder,
} from '../import/import-folder.ts'
import type { ModelOpener } from '../import/model-opener.ts'
import { copyLocalChunks } from './local-chunks.ts'
import { type ContextFile, bytesOf, contextIdOf, encodeManifest } from '../content/manifest.ts'
import { StoreMemory } from './store-memory.ts'
import { StorePaths } from '../disk/store-paths.ts'
import { type FreeSpace, type StoreBounds, StoreRoom } from './store-room.ts'
import { type ContextTier, type TierListener, TierTeller } from './tiers.ts'

export type { ContextEntry, Damage } from './context-entry.ts'
export type { ImportOptions, ImportResult } from '../import/import-folder.ts'

export interface ContextStoreComponents {
  clock: Clock
  log: Logger
  /** Names this run of the operating system; read from it when absent. */
  bootId?: string
  /** Wraps the writes of files in progress; tests make them run out of room. */
  writable?: (file: FileHandle) => WritableAt
  /** Refuses models that no engine can open, at their import. */
  models?: ModelOpener
  /** Bytes of other things that count towards the quota. */
  otherBytes?: (() => Promise<number>) | undefined
  /** Replaces the file system's report of free space, in tests. */
  freeSpace?: (folder: string) => Promise<FreeSpace>
}

/** The given limits are remembered for the next start. */
export interface ContextStoreOptions extends StoreBounds {
  /** The folder that holds everything, usually `DATA/contexts`. Made when absent. */
  folder: string
}

/**
 * Contexts on disk: manifests, files by content, a folder per stored context, local names. What it says
 * of a context is true of the disk at that moment, and after a crash.
 */
export class ContextStore {
  readonly #components: ContextStoreComponents
  readonly #options: ContextStoreOptions
  readonly #paths: StorePaths
  readonly #names: ContextNames
  readonly #tiers = new TierTeller((contextId) => this.tier(contextId))
  /** Pins, uses, and how far the scrub is. */
  readonly memory: StoreMemory
  readonly room: StoreRoom
  /** Called after a damaged file was removed from its contexts. */
  onDamage: (damage: Damage) => void = () => {}
  #whenOpen: { blobs: BlobStore; contexts: HeldContexts } | undefined
  /** Imports, completions and removals happen one after another. */
  readonly #turns = new Turns()

  constructor(components: ContextStoreComponents, options: ContextStoreOptions) {
    this.#components = components
    this.#options = options
    this.#paths = new StorePaths(options.folder)
    this.#names = new ContextNames(this.#paths.names)
    this.memory = new StoreMemory(components.clock, this.#paths.memory)
    this.room = new StoreRoom({
      folder: this.#paths.root,
      contexts: () => this.#whenOpen?.contexts.all() ?? [],
      memory: this.memory,
      otherBytes: components.otherBytes,
      freeSpace: components.freeSpace,
    })
  }

  /**
   * Reads what is on disk, and hashes again what a crash of the machine left in doubt; must be called
   * first. Throws `data-corrupt` when the names or the store's memory are damaged, and `data-inaccessible`
   * when the folder cannot be read or written.
   */
  async open(): Promise<void> {
    try {
      await this.#open()
    } catch (error) {
      throw asStorageError(error, pathOf(error) ?? this.#paths.root)
    }
  }

  async #open(): Promise<void> {
    await this.#paths.make()
    await rm(this.#paths.of('incoming'), { recursive: true, force: true })
    await this.#paths.make()
    await this.#names.load()
    await this.memory.load()
    await this.room.setBounds(this.#options)
    const blobs = new BlobStore({
      paths: this.#paths,
      bootId: this.#components.bootId ?? (await readBootId()),
      writable: this.#components.writable,
      guard: (bytes) => this.room.guard(bytes),
    })
    await blobs.open()
    const contexts = new HeldContexts({
      paths: this.#paths,
      blobs,
      tiers: this.#tiers,
      log: this.#components.log,
      onDamage: (file) => void this.#turns.run(() => this.#onDamage(file)).catch(() => {}),
    })
    this.#whenOpen = { blobs, contexts }
    await contexts.open()
  }

  /** Waits for writes under way and lets go of the files. */
  async close(): Promise<void> {
    await this.#turns.settled()
    this.#whenOpen?.contexts.close()
    await this.#whenOpen?.blobs.close()
    this.#whenOpen = undefined
    await this.memory.close()
  }

  /**
   * Copies a model folder into the store as a context; what is here already is not stored twice, and the
   * context is pinned. file-selection.ts says which of its files belong. Throws `context-invalid` naming
   * what cannot be taken, `model-unsupported`, or `disk-full`.
   */
  async import(folder: string, options: ImportOptions = {}): Promise<ImportResult> {
    if (options.name !== undefined) requireName(options.name)
    const target = await this.#paths.makeIncoming()
    let giveBack = (): void => {}
    try {
      const copy = await copyFolder(folder, target, {
        runtime: options.runtime,
        dtype: options.dtype,
        models: this.#components.models,
        signal: options.signal,
        requireRoom: async (bytes) => {
          await this.room.make(bytes, options.signal)
          giveBack = await this.#turns.run(() => this.room.keepForImport(bytes))
        },
      })
      return await this.#turns.run(() => this.#takeIn(copy, options.name))
    } finally {
      giveBack()
      await rm(target, { recursive: true, force: true })
    }
  }

  /** All contexts of which at least the manifest is here, ordered by id. */
  list(): ContextEntry[] {
    return this.#opened.contexts.ids().flatMap((contextId) => this.entry(contextId) ?? [])
  }

  /** One context of `list()`; undefined when this peer has no part of it. */
  entry(contextId: string): ContextEntry | undefined {
    const context = this.held(contextId)
    if (context === undefined) return undefined
    return {
      contextId,
      names: this.#names.of(contextId),
      tier: this.tier(contextId),
      bytes: context.bytesTotal,
      files: context.manifest.files.length,
      runtime: context.manifest.runtime,
      ...this.memory.get(contextId),
    }
  }

  /**
   * The contextId that a name, an id (here or not) or the start of an id that is here stands for.
   * Throws `context-unknown` or `context-ambiguous`.
   */
  resolve(nameOrId: string): string {
    return this.#names.resolve(nameOrId, this.#opened.contexts.ids())
  }

  /** Gives a context a name. Throws `context-invalid` for what cannot be one. */
  async setName(name: string, contextId: string): Promise<void> {
    await this.#names.set(name, contextId)
    this.#tiers.tell(contextId)
  }

  tier(contextId: string): ContextTier {
    const context = this.held(contextId)
    if (context === undefined) return { kind: 'absent' }
    if (context.isStored) return { kind: 'stored' }
    if (context.heldBytes === 0) return { kind: 'absent' }
    return { kind: 'partial', share: context.heldBytes / Math.max(1, context.bytesTotal) }
  }

  /** The folder with the context's files under their own paths. Throws `context-unavailable` unless stored. */
  folder(contextId: string): string {
    if (this.held(contextId)?.isStored === true) return this.#paths.contextFolder(contextId)
    throw new HearthError(
      'context-unavailable',
      `context ${contextId} is not complete on this peer: fetch it with "hearth context get ${contextId}" first`,
      {
        data: { contextId },
      },
    )
  }

  /**
   * Calls `listener` when a context has another tier or name, or a partial one has grown; returns how to
   * stop that.
   */
  onChange(listener: TierListener): () => void {
    return this.#tiers.add(listener)
  }

  /**
   * Whether the files of a context are on disk as its manifest says: HeldContext.verify. When they are not,
   * the context has lost its damaged chunks by then, and a fetch gets them.
   */
  async verify(contextId: string, options: { isAgain: boolean; signal?: AbortSignal }): Promise<boolean> {
    const isSound = await this.held(contextId)?.verify(options)
    if (isSound === true) return true
    await this.#turns.settled()
    return false
  }

  /** Removes a context, and the files that no other context here uses. Nothing may be using it. */
  async remove(contextId: string): Promise<void> {
    await this.#turns.run(async () => {
      const context = this.held(contextId)
      if (context === undefined) return
      const files = this.#opened.contexts.filesOnlyOf(context)
      this.#opened.contexts.remove(context)
      await rm(this.#paths.manifest(contextId), { force: true })
      await rm(this.#paths.contextFolder(contextId), { recursive: true, force: true })
      await this.#names.removeOf(contextId)
      await this.memory.forget(contextId)
      for (const file of files) await this.#opened.blobs.remove(file)
      this.#tiers.tell(contextId)
    })
  }

  /** The held part of a context; undefined when even its manifest is missing. */
  held(contextId: string): HeldContext | undefined {
    return this.#whenOpen?.contexts.get(contextId)
  }

  /**
   * Starts to store a context whose manifest is known, or goes on with it. Files and chunks that other
   * contexts have are taken over. Room for the rest is kept until `complete` or `room.rest`. Throws
   * `context-invalid` or `disk-full`.
   */
  async begin(contextId: string, manifestBytes: Uint8Array, signal?: AbortSignal): Promise<HeldContext> {
    const context = await this.#turns.run(async () => {
      const begun = await this.#opened.contexts.getOrAdd(contextId, manifestBytes)
      begun.reuse()
      return begun
    })
    await this.room.make(context.bytesTotal - context.heldBytes, signal)
    await this.#turns.run(() => this.room.keepFor(context))
    this.memory.use(contextId)
    const others = this.#opened.contexts.all().filter((other) => other !== context)
    await copyLocalChunks(context, others, signal)
    return context
  }

  /**
   * Seals all files of a context whose chunks are all held, and puts its folder in place. Throws
   * `data-corrupt` when the disk lost some of them meanwhile (the next fetch gets those), or `disk-full`.
   */
  async complete(contextId: string): Promise<void> {
    await this.#turns.run(async () => {
      const context = this.held(contextId)
      if (context === undefined) throw new RangeError(`context ${contextId} was never begun`)
      try {
        await context.seal()
      } catch (error) {
        if (isHearthError(error, 'data-corrupt')) await this.#opened.contexts.reload(context)
        throw error
      }
      await this.#opened.contexts.store(context)
    })
    this.room.rest(contextId)
  }

  async #takeIn(copy: FolderCopy, name: string | undefined): Promise<ImportResult> {
    const manifestBytes = encodeManifest(copy.manifest)
    const contextId = contextIdOf(manifestBytes)
    for (const [index, file] of copy.manifest.files.entries()) {
      await this.#opened.blobs.adopt(file, copy.copies[index] ?? '')
    }
    const context = await this.#opened.contexts.getOrAdd(contextId, manifestBytes)
    context.reuse()
    await this.#opened.contexts.store(context)
    this.memory.use(contextId)
    await this.memory.setPinned(contextId, true)
    if (name !== undefined) await this.setName(name, contextId)
    this.#components.log.info({ contextId, bytes: bytesOf(copy.manifest) }, 'context imported')
    const { entry, dtype } = copy.manifest.runtime
    return {
      contextId,
      bytes: bytesOf(copy.manifest),
      files: copy.manifest.files.length,
      leftOut: copy.leftOut,
      entry,
      dtype,
      variants: copy.variants,
    }
  }

  /**
   * A file turned out to be damaged: the claim to its bad chunks is dropped, and to every context with
   * them. A download under way finds them itself when it seals the file.
   */
  async #onDamage(file: ContextFile): Promise<void> {
    const { blobs, contexts } = this.#opened
    const concerned = contexts.withFile(file)
    if (concerned.some(({ contextId }) => this.room.isKept(contextId))) return
    const chunks = await blobs.dropDamaged(file)
    if (chunks === 0) return
    this.#components.log.error(
      { path: file.path, chunks },
      'a stored file is damaged on disk; its bad chunks will be downloaded again',
    )
    const whole = concerned.filter(({ isStored }) => isStored)
    for (const context of concerned) await contexts.reload(context)
    const idsOf = (some: HeldContext[]): string[] => some.map(({ contextId }) => contextId)
    this.onDamage({ path: file.path, chunks, contextIds: idsOf(concerned), wholeIds: idsOf(whole) })
  }

  get #opened(): { blobs: BlobStore; contexts: HeldContexts } {
    if (this.#whenOpen === undefined) throw new RangeError('the context store is not open')
    return this.#whenOpen
  }
}
