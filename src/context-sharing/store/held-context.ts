import { Bitfield } from '../content/bitfield.ts'
import { CHUNK_BYTES } from '../../base/limits.ts'
import type { BlobStore } from '../disk/blob-store.ts'
import { type Chunk, ChunkMap } from '../content/chunk-map.ts'
import { bytesEqual, sha256InTurns } from '../disk/disk.ts'
import { type ContextFile, type Manifest, bytesOf } from '../content/manifest.ts'
import { gridKeyOf } from '../disk/store-paths.ts'

/** A context whose manifest is here, with its held chunks. */
export class HeldContext {
  readonly contextId: string
  readonly manifest: Manifest
  readonly manifestBytes: Uint8Array
  readonly map: ChunkMap
  /** Chunks that are verified and on disk, by their number in the context. */
  readonly held: Bitfield
  /** Bytes of all files. */
  readonly bytesTotal: number
  /** Whether the folder is in place. */
  isStored = false
  /** Called with a file that was found damaged on disk. */
  onDamage: (file: ContextFile) => void = () => {}
  #heldBytes = 0
  /** Chunks that were hashed since this was made: when they came, or when they were read from disk. */
  readonly #sound: Bitfield
  readonly #blobs: BlobStore
  #listeners = new Set<(chunk: number) => void>()
  #stops: (() => void)[] = []

  constructor(blobs: BlobStore, contextId: string, manifest: Manifest, manifestBytes: Uint8Array) {
    this.#blobs = blobs
    this.contextId = contextId
    this.manifest = manifest
    this.manifestBytes = manifestBytes
    this.map = new ChunkMap(manifest)
    this.held = new Bitfield(this.map.count)
    this.#sound = new Bitfield(this.map.count)
    this.bytesTotal = bytesOf(manifest)
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Finds out which chunks are here, and keeps up with files in progress from then on. */
  async load(): Promise<void> {
    for (const [number, file] of this.manifest.files.entries()) {
      await this.#blobs.recheck(file)
      if (this.#blobs.isComplete(file)) this.#holdFile(number)
      else if (file.size > 0) await this.#follow(number, file)
    }
  }

  /** The storage keys of the files, which show the files that contexts share. */
  gridKeys(): string[] {
    return this.manifest.files.map(gridKeyOf)
  }

  /** The size of each file, by what the file is kept under. */
  fileSizes(): Map<string, number> {
    return new Map(this.manifest.files.map((file) => [gridKeyOf(file), file.size]))
  }

  /** Bytes that are here of each file, by what the file is kept under. */
  heldFiles(): Map<string, number> {
    return new Map(
      this.manifest.files.map((file, number) => {
        if (this.#blobs.isComplete(file)) return [gridKeyOf(file), file.size]
        const { first, count } = this.map.ofFile(number)
        let bytes = 0
        for (let chunk = first; chunk < first + count; chunk += 1) {
          if (this.held.has(chunk)) bytes += this.map.chunk(chunk).length
        }
        return [gridKeyOf(file), bytes]
      }),
    )
  }

  /** Stops keeping up. */
  close(): void {
    for (const stop of this.#stops) stop()
    this.#stops = []
    this.#listeners.clear()
  }

  /** Calls `listener` for every chunk that becomes held; returns how to stop that. */
  onHeld(listener: (chunk: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Takes over files that another context has complete. */
  reuse(): void {
    for (const [number, file] of this.manifest.files.entries()) {
      if (this.#blobs.isComplete(file)) this.#holdFile(number)
    }
  }

  /**
   * Chunks to fetch: those not held, each content only once although files may occur twice.
   */
  missing(): number[] {
    const seen = new Set<string>()
    return this.manifest.files.flatMap((file, number) => {
      const key = gridKeyOf(file)
      if (seen.has(key)) return []
      seen.add(key)
      const { first, count } = this.map.ofFile(number)
      return Array.from({ length: count }, (_value, index) => first + index).filter(
        (chunk) => !this.held.has(chunk),
      )
    })
  }

  /** Checks and stores a chunk. False when it was here already. Throws `chunk-corrupt`, `disk-full`. */
  async write(index: number, bytes: Uint8Array): Promise<boolean> {
    if (this.held.has(index)) return false
    const { file, chunk } = this.#locate(index)
    const partial = await this.#blobs.partial(file)
    const isNew = await partial.write(chunk.indexInFile, bytes)
    if (isNew) this.#sound.add(index)
    // One file is made durable while the next is still arriving. Who completes the context waits for it, and
    // is told of its errors.
    if (partial.held.isFull) void this.#blobs.seal(file).catch(() => {})
    return isNew
  }

  /**
   * A held chunk's bytes, at the start of `buffer` when one is given. Hashed the first time that they are
   * read, unless they were when they came, since the disk may have lost them: whoever fetches hashes them every
   * time. Undefined when the chunk
   * is not held, or the disk does not have it right any more (looked at twice, since the fault may be in
   * memory). Then the store hears of the damage.
   */
  async read(index: number, buffer?: Uint8Array): Promise<Uint8Array | undefined> {
    if (!this.held.has(index)) return undefined
    const { file, chunk } = this.#locate(index)
    for (let times = 0; times < 2; times += 1) {
      const bytes = await this.#blobs.read(file, chunk.indexInFile, buffer)
      if (bytes === undefined) continue
      if (this.#sound.has(index) && bytes.byteLength === chunk.length) return bytes
      if (!bytesEqual(await sha256InTurns(bytes), chunk.sha256)) continue
      this.#sound.add(index)
      return bytes
    }
    if (this.held.has(index)) this.onDamage(file)
    return undefined
  }

  /** The same, and always hashed again. */
  async readChecked(index: number): Promise<Uint8Array | undefined> {
    this.#sound.delete(index)
    return await this.read(index)
  }

  /** Whether a held chunk is intact on disk; always reads it again. */
  async check(index: number): Promise<boolean> {
    return (await this.readChecked(index)) !== undefined
  }

  /**
   * Hashes the held chunks that were not hashed since this peer started, with `isAgain` all of them. False at
   * the first that the disk does not have right: the store hears of it. Throws the signal's reason.
   */
  async verify({ isAgain, signal }: { isAgain: boolean; signal?: AbortSignal }): Promise<boolean> {
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
    for (const index of this.held) {
      signal?.throwIfAborted()
      if (isAgain) this.#sound.delete(index)
      else if (this.#sound.has(index)) continue
      if ((await this.read(index, buffer)) === undefined) return false
    }
    return true
  }

  /** Completes every file. Throws `data-corrupt`, `disk-full`. */
  async seal(): Promise<void> {
    for (const file of this.manifest.files) await this.#blobs.seal(file)
  }

  #locate(index: number): { file: ContextFile; chunk: Chunk } {
    const chunk = this.map.chunk(index)
    const file = this.manifest.files[chunk.file]
    if (file === undefined) throw new RangeError(`file ${chunk.file}`)
    return { file, chunk }
  }

  async #follow(number: number, file: ContextFile): Promise<void> {
    const partial = await this.#blobs.partial(file)
    const { first } = this.map.ofFile(number)
    for (const indexInFile of partial.held) this.#hold(first + indexInFile)
    this.#stops.push(partial.onHeld((indexInFile) => this.#hold(first + indexInFile)))
  }

  #holdFile(number: number): void {
    const { first, count } = this.map.ofFile(number)
    for (let chunk = first; chunk < first + count; chunk += 1) this.#hold(chunk)
  }

  #hold(chunk: number): void {
    if (!this.held.add(chunk)) return
    this.#heldBytes += this.map.chunk(chunk).length
    for (const listener of this.#listeners) listener(chunk)
  }
}
