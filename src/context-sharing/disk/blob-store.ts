import {
  type FileHandle,
  constants,
  copyFile,
  link,
  open,
  readdir,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { ChunkJournal } from './chunk-journal.ts'
import { fileChunks } from '../content/chunk-map.ts'
import { FILE_MODE, bytesEqual, readAt, sha256, syncFile, syncFolder } from './disk.ts'
import { asStorageError } from '../../base/storage-errors.ts'
import { renameOldBlobs } from './old-blobs.ts'
import type { ContextFile } from '../content/manifest.ts'
import { OpenBlobs } from './open-blobs.ts'
import { PartialFile, type PartialFileComponents } from './partial-file.ts'
import { gridKeyOf } from './store-paths.ts'

/** Files by content: each is complete (a blob), in progress (a partial file), or not here. */
export class BlobStore {
  readonly #components: PartialFileComponents
  /** Grid keys of blobs: every chunk of them was checked. */
  readonly #complete = new Set<string>()
  readonly #partial = new Map<string, Promise<PartialFile>>()
  readonly #open = new OpenBlobs()

  constructor(components: PartialFileComponents) {
    this.#components = components
  }

  async open(): Promise<void> {
    const { paths } = this.#components
    await renameOldBlobs(paths)
    this.#complete.clear()
    for (const key of await readdir(paths.of('blobs'))) this.#complete.add(key)
  }

  async close(): Promise<void> {
    await this.#open.close()
    for (const partial of this.#partial.values()) await (await partial).close()
    this.#partial.clear()
  }

  /**
   * Drops the claim to a file whose blob is not there, or not as long as it was: only a crash of the
   * machine, or a hand from outside, does that.
   */
  async recheck(file: ContextFile): Promise<void> {
    if (!this.isComplete(file) || (await hasSize(this.#components.paths.blob(file), file.size))) return
    await this.remove(file)
  }

  /** Whether the file is here, whole and checked against this very chunk list. */
  isComplete(file: ContextFile): boolean {
    return this.#complete.has(gridKeyOf(file))
  }

  /** The file in progress; one object for all contexts that share it. */
  async partial(file: ContextFile): Promise<PartialFile> {
    const key = gridKeyOf(file)
    const known = this.#partial.get(key)
    if (known !== undefined) return await known
    const loading = PartialFile.load(this.#components, file)
    this.#partial.set(key, loading)
    loading.catch(() => this.#partial.delete(key))
    return await loading
  }

  /** Takes in a complete file whose hashes were computed from it. `copy` is moved or removed. */
  async adopt(file: ContextFile, copy: string): Promise<void> {
    const { paths } = this.#components
    if (await hasSize(paths.blob(file), file.size)) await rm(copy)
    else await rename(copy, paths.blob(file))
    this.#complete.add(gridKeyOf(file))
  }

  /** Seals a file whose chunks are all held. Throws `data-corrupt` or `disk-full`. */
  async seal(file: ContextFile): Promise<void> {
    if (this.isComplete(file)) return
    if (file.size === 0) await this.#makeEmpty(file)
    else await (await this.partial(file)).seal()
    this.#complete.add(gridKeyOf(file))
    this.#partial.delete(gridKeyOf(file))
  }

  /**
   * The bytes of a chunk that is held, as they are on disk, at the start of `buffer` when one is given;
   * undefined when they are not there any more.
   */
  async read(file: ContextFile, indexInFile: number, buffer?: Uint8Array): Promise<Uint8Array | undefined> {
    if (!this.isComplete(file)) {
      const partial = await this.partial(file)
      return partial.held.has(indexInFile) ? await partial.read(indexInFile, buffer) : undefined
    }
    const { offset, length } = fileChunks(file).chunk(indexInFile)
    const path = this.#components.paths.blob(file)
    return await this.#open.read(path, (blob) => readAt(blob, offset, length, buffer))
  }

  /** Makes the names of all complete files durable. */
  async sync(): Promise<void> {
    await syncFolder(this.#components.paths.of('blobs'))
  }

  /** Puts the blob at `target` as a hard link, or as a copy where the file system has none. */
  async place(file: ContextFile, target: string): Promise<void> {
    const blob = this.#components.paths.blob(file)
    try {
      await link(blob, target)
    } catch (error) {
      if (!['EPERM', 'ENOTSUP', 'EXDEV', 'EMLINK', 'ENOSYS'].includes(codeOf(error)))
        throw asStorageError(error, target)
      await copyFile(blob, target, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL).catch(
        (cause: unknown) => {
          throw asStorageError(cause, target)
        },
      )
      await syncFile(target)
    }
  }

  /**
   * Looks at a file of which a chunk is damaged, and drops the claim to all that are; says how many. They
   * are then missing, and can be fetched again.
   */
  async dropDamaged(file: ContextFile): Promise<number> {
    return this.isComplete(file) ? await this.#demote(file) : await (await this.partial(file)).recheck()
  }

  /**
   * Takes a complete file back to one in progress that has only those of its chunks that the disk has
   * right; the others are then fetched again, and nothing else. Returns how many are not right. The
   * journal is there before the name of the blob goes: a crash in between loses no chunk.
   */
  async #demote(file: ContextFile): Promise<number> {
    const { paths, bootId } = this.#components
    const map = fileChunks(file)
    const sound = await this.#soundChunks(file)
    if (sound.length === map.count) return 0
    if (sound.length === 0) await this.remove(file)
    else {
      const identity = { bootId, gridKey: gridKeyOf(file) }
      await (await ChunkJournal.create(paths.journal(file), identity, sound)).close()
      await this.#open.drop(paths.blob(file))
      await rename(paths.blob(file), paths.part(file))
      await syncFolder(paths.of('parts'))
      this.#complete.delete(gridKeyOf(file))
    }
    return map.count - sound.length
  }

  /** Removes a file in whatever state it is. Nothing may use it any more. */
  async remove(file: ContextFile): Promise<void> {
    const { paths } = this.#components
    const key = gridKeyOf(file)
    await this.#partial.get(key)?.then((partial) => partial.close())
    this.#partial.delete(key)
    this.#complete.delete(key)
    await this.#open.drop(paths.blob(file))
    for (const path of [paths.journal(file), paths.part(file), paths.blob(file)])
      await rm(path, { force: true })
  }

  async #soundChunks(file: ContextFile): Promise<number[]> {
    const map = fileChunks(file)
    const blob = await openIfThere(this.#components.paths.blob(file))
    const sound: number[] = []
    if (blob === undefined || (await blob.stat()).size !== file.size) {
      await blob?.close()
      return sound
    }
    try {
      for (let index = 0; index < map.count; index += 1) {
        const { offset, length, sha256: expected } = map.chunk(index)
        if (bytesEqual(await sha256(await readAt(blob, offset, length)), expected)) sound.push(index)
      }
    } finally {
      await blob.close()
    }
    return sound
  }

  async #makeEmpty(file: ContextFile): Promise<void> {
    await writeFile(this.#components.paths.blob(file), '', { mode: FILE_MODE })
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

async function hasSize(path: string, size: number): Promise<boolean> {
  const stats = await stat(path).catch(() => undefined)
  return stats?.size === size
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? ''
}
