import { readFile, readdir, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { HearthError, isHearthError, messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { BlobStore } from './blob-store.ts'
import { readBootId } from './boot-id.ts'
import { isFolderWhole, placeFolder } from './context-folder.ts'
import { ContextNames, requireName } from './context-names.ts'
import { type WritableAt, replaceFile, requireRoom } from './disk.ts'
import { HeldContext } from './held-context.ts'
import { type FolderCopy, copyFolder } from './import-folder.ts'
import {
  type ContextFile,
  type RuntimeInfo,
  bytesOf,
  contextIdOf,
  decodeManifest,
  encodeManifest,
  isContextId,
} from './manifest.ts'
import { StorePaths, gridKeyOf } from './store-paths.ts'
import type { ContextTier, TierListener } from './tiers.ts'

export interface ContextStoreComponents {
  log: Logger
  /** Names this run of the operating system; read from it when absent. */
  bootId?: string
  /** Wraps the writes of files in progress; tests make them run out of room. */
  writable?: (file: FileHandle) => WritableAt
}

export interface ContextStoreOptions {
  /** The folder that holds everything, usually `DATA/contexts`. Made when absent. */
  folder: string
  /** Bytes of the file system to leave free, at least. Default 256 MiB. */
  freeBytesMin?: number
}

export interface ImportOptions {
  /** A label on this machine only; names are not part of a context. An earlier meaning of it is replaced. */
  name?: string
  /** Parts of the runtime info that should not be inferred from the folder. */
  runtime?: Partial<RuntimeInfo>
  /** Which of several models in the folder: 'fp32', 'fp16', 'q8', 'q4' …; file-selection.ts has the default. */
  dtype?: string | undefined
  signal?: AbortSignal | undefined
}

export interface ImportResult {
  contextId: string
  /** Bytes and number of the files that belong to the context. */
  bytes: number
  files: number
  /** Paths of the folder that do not belong to a context (README, pictures, other dtypes…). */
  leftOut: string[]
}

export interface ContextEntry {
  contextId: string
  names: string[]
  tier: ContextTier
  bytes: number
  files: number
  runtime: RuntimeInfo
}

const FREE_BYTES_MIN = 256 * 1024 * 1024
/** A partial context is told of again each time it has grown by this share. */
const SHARE_STEP = 0.05
/** What may stand for a contextId must have this many characters of it: all ids begin alike. */
const ID_START_CHARACTERS_MIN = 12

/**
 * Contexts on disk: manifests, files by content, a folder per stored context, local names. What it says
 * of a context is true of the disk at that moment, and after a crash.
 */
export class ContextStore {
  readonly #components: ContextStoreComponents
  readonly #paths: StorePaths
  readonly #freeBytesMin: number
  readonly #names: ContextNames
  #blobs: BlobStore | undefined
  #contexts = new Map<string, HeldContext>()
  #listeners = new Set<TierListener>()
  /** Imports, completions and removals happen one after another. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(components: ContextStoreComponents, options: ContextStoreOptions) {
    this.#components = components
    this.#paths = new StorePaths(options.folder)
    this.#freeBytesMin = options.freeBytesMin ?? FREE_BYTES_MIN
    this.#names = new ContextNames(this.#paths.names)
  }

  /**
   * Reads what is on disk, and hashes again what a crash of the machine left in doubt; must be called
   * first. Throws `data-corrupt` when the names cannot be read.
   */
  async open(): Promise<void> {
    await this.#paths.make()
    await rm(this.#paths.of('incoming'), { recursive: true, force: true })
    await this.#paths.make()
    await this.#names.load()
    this.#blobs = new BlobStore({
      paths: this.#paths,
      bootId: this.#components.bootId ?? (await readBootId()),
      writable: this.#components.writable,
    })
    await this.#blobs.open()
    for (const contextId of (await readdir(this.#paths.of('manifests'))).filter(isContextId)) {
      await this.#loadContext(contextId)
    }
  }

  /** Waits for writes under way and lets go of the files. */
  async close(): Promise<void> {
    await this.#turn
    for (const context of this.#contexts.values()) context.close()
    this.#contexts = new Map()
    await this.#blobs?.close()
    this.#blobs = undefined
  }

  /**
   * Copies a model folder into the store as a context; what is here already is not stored twice.
   * file-selection.ts says which of its files belong. Throws `context-invalid` naming what cannot be
   * taken, or `disk-full`.
   */
  async import(folder: string, options: ImportOptions = {}): Promise<ImportResult> {
    if (options.name !== undefined) requireName(options.name)
    return await this.#inTurn(async () => {
      const target = await this.#paths.makeIncoming()
      try {
        const copy = await copyFolder(folder, target, {
          runtime: options.runtime,
          dtype: options.dtype,
          keepFreeBytes: this.#freeBytesMin,
          signal: options.signal,
        })
        return await this.#takeIn(copy, options.name)
      } finally {
        await rm(target, { recursive: true, force: true })
      }
    })
  }

  /** All contexts of which at least the manifest is here, ordered by id. */
  list(): ContextEntry[] {
    const ids = [...this.#contexts.keys()].sort()
    return ids.flatMap((contextId) => this.entry(contextId) ?? [])
  }

  /** One context of `list()`; undefined when nothing of it is here. */
  entry(contextId: string): ContextEntry | undefined {
    const context = this.#contexts.get(contextId)
    if (context === undefined) return undefined
    return {
      contextId,
      names: this.#names.of(contextId),
      tier: this.tier(contextId),
      bytes: context.bytesTotal,
      files: context.manifest.files.length,
      runtime: context.manifest.runtime,
    }
  }

  /**
   * The contextId that a name, an id (here or not) or the start of an id that is here stands for.
   * Throws `context-unknown` or `context-ambiguous`.
   */
  resolve(nameOrId: string): string {
    const named = this.#names.get(nameOrId)
    if (named !== undefined) return named
    if (isContextId(nameOrId)) return nameOrId
    const ids = nameOrId.length < ID_START_CHARACTERS_MIN ? [] : this.#idsFrom(nameOrId)
    if (ids.length > 1) {
      throw new HearthError(
        'context-ambiguous',
        `"${nameOrId}" is the start of ${ids.join(' and ')}: give more of it`,
        {
          data: { contextIds: ids },
        },
      )
    }
    if (ids[0] !== undefined) return ids[0]
    throw new HearthError(
      'context-unknown',
      `nothing here is called "${nameOrId}": import a folder under that name, or give the whole contextId`,
      { data: { nameOrId } },
    )
  }

  /** Gives a context a name. Throws `context-invalid` for what cannot be one. */
  async setName(name: string, contextId: string): Promise<void> {
    await this.#names.set(name, contextId)
  }

  tier(contextId: string): ContextTier {
    const context = this.#contexts.get(contextId)
    if (context === undefined) return { kind: 'absent' }
    if (context.isStored) return { kind: 'stored' }
    if (context.heldBytes === 0) return { kind: 'absent' }
    return { kind: 'partial', share: context.heldBytes / Math.max(1, context.bytesTotal) }
  }

  /** The folder with the context's files under their own paths. Throws `context-unavailable` unless stored. */
  folder(contextId: string): string {
    if (this.#contexts.get(contextId)?.isStored === true) return this.#paths.contextFolder(contextId)
    throw new HearthError(
      'context-unavailable',
      `context ${contextId} is not stored here yet: fetch it first`,
      {
        data: { contextId },
      },
    )
  }

  /** Calls `listener` when a context's tier changes or a partial one has grown; returns how to stop that. */
  onTier(listener: TierListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Removes a context, and the files that no other context here uses. Nothing may be using it. */
  async remove(contextId: string): Promise<void> {
    await this.#inTurn(async () => {
      const context = this.#contexts.get(contextId)
      if (context === undefined) return
      this.#contexts.delete(contextId)
      context.close()
      await rm(this.#paths.manifest(contextId), { force: true })
      await rm(this.#paths.contextFolder(contextId), { recursive: true, force: true })
      await this.#names.removeOf(contextId)
      const usedKeys = new Set([...this.#contexts.values()].flatMap((other) => other.gridKeys()))
      for (const file of context.manifest.files) {
        if (!usedKeys.has(gridKeyOf(file))) await this.#blobsOrThrow().remove(file)
      }
      this.#tell(contextId)
    })
  }

  /** What is here of a context; undefined when not even its manifest is. */
  held(contextId: string): HeldContext | undefined {
    return this.#contexts.get(contextId)
  }

  /**
   * Starts to store a context whose manifest is known, or goes on with it. Files that other contexts
   * have complete are taken over. Throws `context-invalid` or `disk-full`.
   */
  async begin(contextId: string, manifestBytes: Uint8Array, signal?: AbortSignal): Promise<HeldContext> {
    return await this.#inTurn(async () => {
      const context = this.#contexts.get(contextId) ?? (await this.#add(contextId, manifestBytes))
      await context.reuse(signal)
      await requireRoom(this.#paths.root, context.bytesTotal - context.heldBytes, this.#freeBytesMin)
      return context
    })
  }

  /**
   * Seals all files of a context whose chunks are all held, and puts its folder in place. Throws
   * `data-corrupt` when the disk lost some of them meanwhile (the next fetch gets those), `context-invalid`
   * when the manifest contradicts itself, or `disk-full`.
   */
  async complete(contextId: string): Promise<void> {
    await this.#inTurn(async () => {
      const context = this.#contexts.get(contextId)
      if (context === undefined) throw new RangeError(`context ${contextId} was never begun`)
      try {
        await context.seal()
      } catch (error) {
        if (isHearthError(error, 'data-corrupt')) await this.#reload(context)
        throw error
      }
      await this.#store(context)
    })
  }

  #idsFrom(start: string): string[] {
    return [...this.#contexts.keys()].filter((contextId) => contextId.startsWith(start)).sort()
  }

  async #takeIn(copy: FolderCopy, name: string | undefined): Promise<ImportResult> {
    const manifestBytes = encodeManifest(copy.manifest)
    const contextId = contextIdOf(manifestBytes)
    for (const [index, file] of copy.manifest.files.entries()) {
      await this.#blobsOrThrow().adopt(file, copy.copies[index] ?? '')
    }
    const context = this.#contexts.get(contextId) ?? (await this.#add(contextId, manifestBytes))
    await context.reuse()
    await this.#store(context)
    if (name !== undefined) await this.#names.set(name, contextId)
    this.#components.log.info({ contextId, bytes: bytesOf(copy.manifest) }, 'context imported')
    return {
      contextId,
      bytes: bytesOf(copy.manifest),
      files: copy.manifest.files.length,
      leftOut: copy.leftOut,
    }
  }

  async #add(contextId: string, manifestBytes: Uint8Array): Promise<HeldContext> {
    decodeManifest(manifestBytes, contextId)
    const path = this.#paths.manifest(contextId)
    await replaceFile(path, this.#paths.newIncoming(), manifestBytes)
    return await this.#remember(contextId, manifestBytes)
  }

  async #remember(contextId: string, manifestBytes: Uint8Array): Promise<HeldContext> {
    const manifest = decodeManifest(manifestBytes, contextId)
    const context = new HeldContext(this.#blobsOrThrow(), contextId, manifest, manifestBytes)
    await context.load()
    context.onDamage = (file) => void this.#inTurn(() => this.#onDamage(file)).catch(() => {})
    this.#contexts.set(contextId, context)
    this.#tellOfGrowth(context)
    return context
  }

  /** A complete file turned out to be damaged: it is dropped, and so is the claim to every context with it. */
  async #onDamage(file: ContextFile): Promise<void> {
    if (!this.#blobsOrThrow().isComplete(file)) return
    this.#components.log.error(
      { path: file.path },
      'a stored file is damaged on disk; it has to be fetched again',
    )
    await this.#blobsOrThrow().remove(file)
    const key = gridKeyOf(file)
    for (const context of this.#contexts.values()) {
      if (context.gridKeys().includes(key)) await this.#reload(context)
    }
  }

  /** Looks at the disk anew. */
  async #reload(context: HeldContext): Promise<void> {
    context.close()
    await this.#remember(context.contextId, context.manifestBytes)
    this.#tell(context.contextId)
  }

  /** A manifest that is damaged is as good as none: the context has to be fetched or imported again. */
  async #loadContext(contextId: string): Promise<void> {
    try {
      const context = await this.#remember(contextId, await readFile(this.#paths.manifest(contextId)))
      context.isStored = context.held.isFull && (await isFolderWhole(this.#paths, context))
    } catch (error) {
      this.#components.log.error({ contextId, error: messageOf(error) }, 'context on disk cannot be used')
    }
  }

  async #store(context: HeldContext): Promise<void> {
    if (context.isStored) return
    await placeFolder(this.#paths, this.#blobsOrThrow(), context)
    context.isStored = true
    this.#tell(context.contextId)
  }

  #tellOfGrowth(context: HeldContext): void {
    let told = 0
    context.onHeld(() => {
      const share = context.heldBytes / context.bytesTotal
      if (context.isStored || (told > 0 && share < told + SHARE_STEP)) return
      told = share
      this.#tell(context.contextId)
    })
  }

  #tell(contextId: string): void {
    const tier = this.tier(contextId)
    for (const listener of this.#listeners) listener(contextId, tier)
  }

  #blobsOrThrow(): BlobStore {
    if (this.#blobs === undefined) throw new RangeError('the context store is not open')
    return this.#blobs
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work)
    this.#turn = run.catch(() => {})
    return run
  }
}
