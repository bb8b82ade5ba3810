import type { Logger } from '../base/logger.ts'
import type { RuntimeInfo } from './manifest.ts'
import type { ContextTier, TierListener } from './tiers.ts'

export interface ContextStoreComponents {
  log: Logger
}

export interface ContextStoreOptions {
  /** The folder that holds everything, usually `DATA/contexts`. Made when absent. */
  folder: string
  /** Bytes of the file system to leave free, at least. */
  freeBytesMin?: number
}

export interface ImportOptions {
  /** A label on this machine only; names are not part of a context. */
  name?: string
  /** Parts of the runtime info that should not be inferred from the folder. */
  runtime?: Partial<RuntimeInfo>
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

/** Contexts on disk. */
export class ContextStore {
  readonly #components: ContextStoreComponents
  readonly #options: ContextStoreOptions

  constructor(components: ContextStoreComponents, options: ContextStoreOptions) {
    this.#components = components
    this.#options = options
  }

  /** Reads what is on disk; must be called first. Throws `data-corrupt`, `config-invalid`. */
  async open(): Promise<void> {}

  async close(): Promise<void> {
    this.#components.log.debug(this.#options, 'closed')
  }

  /** Copies a folder into the store as a context. Throws `context-invalid`, `disk-full`. */
  async import(_folder: string, _options: ImportOptions = {}): Promise<ImportResult> {
    throw new Error('not yet')
  }

  /** All contexts of which at least the manifest is here, ordered by id. */
  list(): ContextEntry[] {
    return []
  }

  /** The contextId that a name, an id or an unambiguous start of an id stands for. Throws `context-unknown`, `context-ambiguous`. */
  resolve(_nameOrId: string): string {
    throw new Error('not yet')
  }

  tier(_contextId: string): ContextTier {
    return { kind: 'absent' }
  }

  /** The folder with the context's files under their own paths. Throws `context-unavailable` unless stored. */
  folder(_contextId: string): string {
    throw new Error('not yet')
  }

  /** Calls `listener` whenever a context's tier rises or falls; returns how to stop that. */
  onTier(_listener: TierListener): () => void {
    return () => {}
  }
}
