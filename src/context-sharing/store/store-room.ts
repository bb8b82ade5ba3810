import { statfs } from 'node:fs/promises'
import { HearthError } from '../../base/errors.ts'
import type { HeldContext } from './held-context.ts'
import type { KeepFree, StoreMemory } from './store-memory.ts'

const GIB = 1024 ** 3
/** Kept free when the owner does not say: 2 % of the file system, at most 10 GiB. */
const KEEP_FREE_SHARE = 0.02
const KEEP_FREE_BYTES_MAX = 10 * GIB
/** Default quota: this share of used plus free space, up to this many bytes. */
const QUOTA_SHARE = 0.4
const QUOTA_BYTES_MAX = 200 * GIB
/** Bytes written between two checks of the free space. */
const GUARD_BYTES = 32 * 1024 * 1024

/** Sizes of a file system, bytes. */
export interface FreeSpace {
  freeBytes: number
  totalBytes: number
}

/** The limit that was reached: the store's quota, or the disk. */
export interface Shortage {
  limit: 'quota' | 'disk'
  /** Bytes that must be freed. */
  bytes: number
  words: string
}

/** The store's use and limits, bytes. */
export interface StoreUsage {
  /** Bytes stored; running downloads count in full. */
  usedBytes: number
  quotaBytes: number
  freeBytes: number
  keepFreeBytes: number
}

export interface StoreRoomComponents {
  folder: string
  contexts(): readonly HeldContext[]
  /** Keeps the bounds that were given last. */
  memory: StoreMemory
  /** Bytes of other things that count as used, such as jobs. */
  otherBytes?: (() => Promise<number>) | undefined
  /** The file system's own answer unless a test has another. */
  freeSpace?: ((folder: string) => Promise<FreeSpace>) | undefined
}

export interface StoreBounds {
  /** The store's quota, bytes. Default: 40 % of used plus free space, at most 200 GiB. */
  quotaBytes?: number | undefined
  /** Space that stays free on the file system. Default: 2 % of it, at most 10 GiB. */
  keepFree?: KeepFree | undefined
}

/** How much the store may still take. */
export class StoreRoom {
  readonly #components: StoreRoomComponents
  /** Contexts that are being fetched: their whole size is reserved. */
  readonly #filling = new Set<string>()
  #importingBytes = 0
  #writtenBytes = 0
  /** Called to delete the least valuable contexts before `disk-full` is thrown. */
  onShortage: (shortage: Shortage, signal?: AbortSignal) => Promise<void> = async () => {}

  constructor(components: StoreRoomComponents) {
    this.#components = components
  }

  /** Sets and remembers the given limits; the others stay unchanged. */
  async setBounds({ quotaBytes, keepFree }: StoreBounds): Promise<void> {
    if (quotaBytes === undefined && keepFree === undefined) return
    await this.#components.memory.setBounds({
      ...(quotaBytes === undefined ? {} : { quotaBytes }),
      ...(keepFree === undefined ? {} : { keepFree }),
    })
  }

  async usage(): Promise<StoreUsage> {
    const { folder, memory, freeSpace = freeSpaceOf, otherBytes } = this.#components
    const { freeBytes, totalBytes } = await freeSpace(folder)
    const usedBytes = this.#usedBytes() + ((await otherBytes?.()) ?? 0)
    const { quotaBytes = defaultQuota(freeBytes + usedBytes), keepFree } = memory.bounds
    return { usedBytes, quotaBytes, freeBytes, keepFreeBytes: keepFreeBytesOf(keepFree, totalBytes) }
  }

  /** The shortage for `bytes` more; undefined when they fit. */
  async shortage(bytes: number): Promise<Shortage | undefined> {
    const { usedBytes, quotaBytes, keepFreeBytes, freeBytes } = await this.usage()
    const { folder } = this.#components
    const overQuota = usedBytes + bytes - quotaBytes
    const overDisk = bytes + keepFreeBytes - freeBytes
    if (overDisk > 0 && overDisk >= overQuota) {
      const words = `cannot store ${bytes} bytes at ${folder}: only ${freeBytes} bytes are free there, and ${keepFreeBytes} must stay free (--keep-free). Free some space, lower --keep-free, or choose another data folder`
      return { limit: 'disk', bytes: overDisk, words }
    }
    if (overQuota <= 0) return undefined
    const words = `cannot store ${bytes} bytes at ${folder}: it uses ${usedBytes} of its quota of ${quotaBytes} bytes. Raise --store-quota, or remove contexts with "hearth context rm" or jobs with "hearth job rm"`
    return { limit: 'quota', bytes: overQuota, words }
  }

  /** Frees room where it is short. */
  async make(bytes: number, signal?: AbortSignal): Promise<void> {
    const shortage = await this.shortage(bytes)
    if (shortage !== undefined) await this.onShortage(shortage, signal)
  }

  /** Reserves room for an import until the returned function is called. Throws `disk-full`. */
  async keepForImport(bytes: number): Promise<() => void> {
    await this.#require(bytes)
    this.#importingBytes += bytes
    return () => {
      this.#importingBytes -= bytes
    }
  }

  /** Reserves room for the missing part of a context, until `rest`. Throws `disk-full`. */
  async keepFor(context: HeldContext): Promise<void> {
    if (this.isKept(context.contextId)) return
    await this.#require(context.bytesTotal - context.heldBytes)
    this.#filling.add(context.contextId)
  }

  isKept(contextId: string): boolean {
    return this.#filling.has(contextId)
  }

  rest(contextId: string): void {
    this.#filling.delete(contextId)
  }

  /**
   * To be called before bytes are written: looks at the free space every 32 MiB, so that a disk that
   * others fill during a download is left alone in time. Throws `disk-full`.
   */
  async guard(bytes: number): Promise<void> {
    this.#writtenBytes += bytes
    if (this.#writtenBytes < GUARD_BYTES) return
    const { keepFreeBytes, freeBytes } = await this.usage()
    if (freeBytes < keepFreeBytes) {
      const words = `only ${freeBytes} bytes are free at ${this.#components.folder}, and ${keepFreeBytes} must stay free (--keep-free). Free some space, or lower --keep-free; verified chunks are kept`
      throw diskFull({ limit: 'disk', bytes: keepFreeBytes - freeBytes, words })
    }
    this.#writtenBytes = 0
  }

  async #require(bytes: number): Promise<void> {
    const shortage = await this.shortage(bytes)
    if (shortage !== undefined) throw diskFull(shortage)
  }

  #usedBytes(): number {
    const files = new Map<string, number>()
    for (const context of this.#components.contexts()) {
      const bytesByKey = this.isKept(context.contextId) ? context.fileSizes() : context.heldFiles()
      for (const [key, bytes] of bytesByKey) files.set(key, Math.max(files.get(key) ?? 0, bytes))
    }
    return [...files.values()].reduce((sum, bytes) => sum + bytes, this.#importingBytes)
  }
}

function diskFull({ limit, bytes, words }: Shortage): HearthError {
  return new HearthError('disk-full', words, { data: { limit, bytesMissing: bytes } })
}

function keepFreeBytesOf(keepFree: KeepFree | undefined, totalBytes: number): number {
  if (keepFree === undefined) return Math.min(KEEP_FREE_BYTES_MAX, Math.floor(totalBytes * KEEP_FREE_SHARE))
  return 'bytes' in keepFree ? keepFree.bytes : Math.floor(totalBytes * keepFree.share)
}

/** A share of used plus free space, so that it does not shrink while the store fills. */
function defaultQuota(reachableBytes: number): number {
  return Math.min(QUOTA_BYTES_MAX, Math.floor(reachableBytes * QUOTA_SHARE))
}

async function freeSpaceOf(folder: string): Promise<FreeSpace> {
  const { bavail, blocks, bsize } = await statfs(folder)
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize }
}
