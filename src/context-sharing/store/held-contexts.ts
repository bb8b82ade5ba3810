import { readFile, readdir } from 'node:fs/promises'
import { messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import type { BlobStore } from '../disk/blob-store.ts'
import { isFolderWhole, placeFolder } from './placed-folder.ts'
import { replaceFile } from '../disk/disk.ts'
import { HeldContext } from './held-context.ts'
import { type ContextFile, decodeManifest, isContextId } from '../content/manifest.ts'
import { type StorePaths, gridKeyOf } from '../disk/store-paths.ts'
import type { TierTeller } from './tiers.ts'

export interface HeldContextsComponents {
  paths: StorePaths
  blobs: BlobStore
  tiers: TierTeller
  log: Logger
  /** A chunk of this file was found damaged. */
  onDamage: (file: ContextFile) => void
}

/** The contexts whose manifests are here, kept in step with the disk. One caller at a time changes them. */
export class HeldContexts {
  readonly #components: HeldContextsComponents
  readonly #contexts = new Map<string, HeldContext>()

  constructor(components: HeldContextsComponents) {
    this.#components = components
  }

  async open(): Promise<void> {
    const names = await readdir(this.#components.paths.of('manifests'))
    for (const contextId of names.filter(isContextId)) await this.#load(contextId)
  }

  close(): void {
    for (const context of this.#contexts.values()) context.close()
    this.#contexts.clear()
  }

  get(contextId: string): HeldContext | undefined {
    return this.#contexts.get(contextId)
  }

  all(): HeldContext[] {
    return [...this.#contexts.values()]
  }

  ids(): string[] {
    return [...this.#contexts.keys()].sort()
  }

  /** The context, its manifest stored when it is new here. Throws `context-invalid` or `disk-full`. */
  async getOrAdd(contextId: string, manifestBytes: Uint8Array): Promise<HeldContext> {
    const known = this.#contexts.get(contextId)
    if (known !== undefined) return known
    const { paths } = this.#components
    decodeManifest(manifestBytes, contextId)
    await replaceFile(paths.manifest(contextId), paths.newIncoming(), manifestBytes)
    return await this.#remember(contextId, manifestBytes)
  }

  /** Puts the folder of a context in place whose files are all complete. */
  async store(context: HeldContext): Promise<void> {
    if (context.isStored) return
    await placeFolder(this.#components.paths, this.#components.blobs, context)
    context.isStored = true
    this.#components.tiers.tell(context.contextId)
  }

  /** Forgets a context; its files are the caller's to remove. */
  remove(context: HeldContext): void {
    this.#contexts.delete(context.contextId)
    context.close()
  }

  /** Files that only `context` uses. */
  filesOnlyOf(context: HeldContext): ContextFile[] {
    const others = this.all().filter((other) => other !== context)
    const usedKeys = new Set(others.flatMap((other) => other.gridKeys()))
    return context.manifest.files.filter((file) => !usedKeys.has(gridKeyOf(file)))
  }

  withFile(file: ContextFile): HeldContext[] {
    const key = gridKeyOf(file)
    return this.all().filter((context) => context.gridKeys().includes(key))
  }

  /** Reads the state of the disk again. */
  async reload(context: HeldContext): Promise<void> {
    context.close()
    await this.#remember(context.contextId, context.manifestBytes)
    this.#components.tiers.tell(context.contextId)
  }

  /** A damaged manifest counts as missing: the context must be fetched or imported again. */
  async #load(contextId: string): Promise<void> {
    const { paths, log } = this.#components
    try {
      const context = await this.#remember(contextId, await readFile(paths.manifest(contextId)))
      context.isStored = context.held.isFull && (await isFolderWhole(paths, context))
    } catch (error) {
      log.error({ contextId, error: messageOf(error) }, 'context on disk is not usable')
    }
  }

  async #remember(contextId: string, manifestBytes: Uint8Array): Promise<HeldContext> {
    const { blobs, tiers, onDamage } = this.#components
    const manifest = decodeManifest(manifestBytes, contextId)
    const context = new HeldContext(blobs, contextId, manifest, manifestBytes)
    await context.load()
    context.onDamage = onDamage
    this.#contexts.set(contextId, context)
    tiers.follow(context)
    return context
  }
}
