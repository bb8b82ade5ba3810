import { pipe } from 'it-pipe'
import { createHash } from 'node:crypto'
import type { Stats } from 'node:fs'
import { chmod, constants, copyFile, link, lstat, mkdir, open, readdir, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { HearthError } from '../../base/errors.ts'
import { CHUNK_BYTES, IMPORT_DEPTH_MAX, IMPORT_ENTRIES_MAX } from '../../base/limits.ts'
import { fileChunks } from '../content/chunk-map.ts'
import { FILE_MODE, readAt, sha256, syncFile } from '../disk/disk.ts'
import { asStorageError } from '../../base/storage-errors.ts'
import { type Entry, type SelectedFile, type Selection, findEntry, selectFiles } from './file-selection.ts'
import { foreignContent } from './foreign-content.ts'
import type { ModelOpener } from './model-opener.ts'
import { folderOf } from './onnx-files.ts'
import { blobBehindLink, blobFault } from './snapshot-link.ts'
import { pathFault, pathsFault } from '../content/manifest-path.ts'
import {
  type ContextFile,
  HASH_BYTES,
  type Manifest,
  type RuntimeInfo,
  chunkCountOf,
} from '../content/manifest.ts'
import { segmentsOf } from './segments.ts'

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
  /** The file that the engine opens, its dtype, and the dtypes that the folder has of this model. */
  entry: string
  dtype: string
  variants: string[]
}

export interface FolderCopy {
  manifest: Manifest
  /** Paths of the copies: file n of the manifest is `copies[n]`. */
  copies: string[]
  leftOut: string[]
  variants: string[]
}

export interface CopyFolderOptions {
  runtime?: Partial<RuntimeInfo> | undefined
  dtype?: string | undefined
  /** Refuses a model that no engine can open. */
  models?: ModelOpener | undefined
  /** Throws `disk-full` unless this number of bytes may be stored. */
  requireRoom(bytes: number): Promise<void>
  signal?: AbortSignal | undefined
}

/** Paths as the manifest will have them (NFC), and as the disk has them, seen from the folder. */
type FoundFiles = Map<string, string>

/**
 * Copies what belongs to a context from `folder` into `target`, and hashes the copies: what the
 * manifest says is true of our bytes, whatever happens to the originals. Reflinks where the file
 * system can. Throws `context-invalid` naming the file that cannot be taken, `model-unsupported` with the
 * reason, or `disk-full`.
 */
export async function copyFolder(
  folder: string,
  target: string,
  options: CopyFolderOptions,
): Promise<FolderCopy> {
  const found = await findFiles(folder)
  const selection = await select(folder, found, options)
  const fault = pathsFault(selection.files.map(({ path }) => path))
  if (fault !== undefined) throw refused(folder, fault)
  const stats = await Promise.all(
    selection.files.map(({ path }) => statOfOriginal(folder, found.get(path) ?? path)),
  )
  await options.requireRoom(stats.reduce((sum, { size }) => sum + size, 0))
  const work = { folder, target, found, selection, stats, signal: options.signal }
  const copies = await copyFiles(work)
  const isModel = selection.runtime.format === 'onnx'
  if (isModel && options.models !== undefined) await openCopies(work, copies, options.models)
  return await describeFiles(work, copies)
}

/** Selects the files of the context, by the graph itself where that can be read. Throws before a byte is copied. */
async function select(folder: string, found: FoundFiles, options: CopyFolderOptions): Promise<Selection> {
  const { runtime, dtype, models } = options
  const paths = [...found.keys()]
  const onDisk = (path: string): string => join(folder, found.get(path) ?? path)
  const entry = findEntry(paths, { runtime, dtype, folder })
  if (models === undefined) return selectFiles(paths, entry, { runtime })
  if (['safetensors', 'gguf'].includes(entry.format)) throw notRun(folder, entry)
  const isGraph = entry.format === 'onnx'
  if (isGraph) await requireOwnContent(folder, entry.path, onDisk(entry.path))
  const weights = isGraph ? await models.weightsOf(onDisk(entry.path)) : []
  const home = folderOf(entry.path)
  const selection = selectFiles(
    paths,
    entry,
    { runtime },
    weights.map((path) => (home === '' ? path : `${home}/${path}`)),
  )
  for (const { path } of selection.files) await requireOwnContent(folder, path, onDisk(path))
  return selection
}

async function requireOwnContent(folder: string, path: string, diskPath: string): Promise<void> {
  const fault = await foreignContent(diskPath, path)
  if (fault !== undefined) throw refused(folder, `"${path}" ${fault}`)
}

function notRun(folder: string, { path, format }: Entry): HearthError {
  const message = `${folder} cannot be imported: it has its weights as ${format} only (${path}), and Hearth runs ONNX. Export it with "optimum-cli export onnx --model ${folder} OUT" and add OUT, or use an ONNX export, for example of https://huggingface.co/onnx-community`
  return new HearthError('model-unsupported', message, { data: { folder } })
}

/** Opens a folder of links to the copies, under their paths: what an engine will find. */
async function openCopies(work: CopyWork, copies: readonly string[], models: ModelOpener): Promise<void> {
  const { selection, signal } = work
  const view = join(work.target, 'view')
  try {
    for (const [index, { path }] of selection.files.entries()) {
      await mkdir(dirname(join(view, path)), { recursive: true })
      await link(copies[index] ?? '', join(view, path))
    }
    await models.open(view, signal)
  } finally {
    await rm(view, { recursive: true, force: true })
  }
}

interface CopyWork {
  folder: string
  target: string
  found: FoundFiles
  selection: Selection
  stats: Stats[]
  signal: AbortSignal | undefined
}

async function copyFiles(work: CopyWork): Promise<string[]> {
  const copies: string[] = []
  for (const [index, selected] of work.selection.files.entries()) {
    work.signal?.throwIfAborted()
    const copy = join(work.target, String(index))
    await copyOne(work, index, selected, copy)
    copies.push(copy)
  }
  return copies
}

async function describeFiles(work: CopyWork, copies: string[]): Promise<FolderCopy> {
  const { selection } = work
  const files: ContextFile[] = []
  for (const [index, selected] of selection.files.entries()) {
    const file = await describe(copies[index] ?? '', selected, work.signal)
    const fault = blobFault(work.found.get(selected.path) ?? '', file.sha256)
    if (fault !== undefined) throw refused(work.folder, `"${selected.path}" ${fault}`)
    files.push(file)
  }
  const manifest: Manifest = {
    version: 1,
    chunkBytes: CHUNK_BYTES,
    files,
    runtime: selection.runtime,
  }
  return { manifest, copies, leftOut: selection.leftOut, variants: selection.variants }
}

async function findFiles(folder: string): Promise<FoundFiles> {
  const found: FoundFiles = new Map()
  const folders = ['']
  let entries = 0
  for (let parent = folders.pop(); parent !== undefined; parent = folders.pop()) {
    for (const entry of await readFolder(folder, parent)) {
      if (entry.name.startsWith('.')) continue
      entries += 1
      const path = parent === '' ? entry.name : `${parent}/${entry.name}`
      if (entries > IMPORT_ENTRIES_MAX || path.split('/').length > IMPORT_DEPTH_MAX) {
        throw refused(folder, `it holds more than a model (over ${IMPORT_ENTRIES_MAX} entries, or too deep)`)
      }
      if (entry.isDirectory()) folders.push(path)
      else {
        const diskPath = entry.isFile() ? path : await blobBehindLink(folder, path, entry)
        if (diskPath === undefined) throw refused(folder, whyNotAFile(entry.isSymbolicLink(), path))
        found.set(acceptedPath(folder, path), diskPath)
      }
    }
  }
  return found
}

async function readFolder(folder: string, parent: string): ReturnType<typeof readEntries> {
  try {
    return await readEntries(join(folder, parent))
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new HearthError(
        'context-invalid',
        `the folder ${join(folder, parent)} does not exist: check its path`,
        { cause },
      )
    }
    throw cause
  }
}

const readEntries = async (path: string) => await readdir(path, { withFileTypes: true })

function acceptedPath(folder: string, diskPath: string): string {
  const path = diskPath.normalize('NFC')
  const fault = pathFault(path)
  if (fault !== undefined) throw refused(folder, `the path ${JSON.stringify(path)} ${fault}: rename the file`)
  return path
}

function whyNotAFile(isLink: boolean, path: string): string {
  return isLink
    ? `"${path}" is a symbolic link, which could lead outside the folder: import a copy that has the files themselves (cp -rL FOLDER COPY)`
    : `"${path}" is neither a file nor a folder: remove it, or import another folder`
}

async function statOfOriginal(folder: string, diskPath: string): Promise<Stats> {
  const stats = await lstat(join(folder, diskPath)).catch((cause: unknown) => {
    throw refused(folder, `"${diskPath}" is missing: download the model again`, cause)
  })
  if (!stats.isFile()) throw refused(folder, whyNotAFile(stats.isSymbolicLink(), diskPath))
  if (stats.nlink > 1) {
    throw refused(
      folder,
      `"${diskPath}" is a hard link (${stats.nlink} names for one file), so another program could change it: import a copy of the folder (cp -r FOLDER COPY)`,
    )
  }
  return stats
}

/** Checks the original again after the copy: a file that was swapped or written meanwhile is refused. */
async function copyOne(work: CopyWork, index: number, selected: SelectedFile, copy: string): Promise<void> {
  const diskPath = work.found.get(selected.path) ?? selected.path
  const before = work.stats[index]
  try {
    await copyFile(join(work.folder, diskPath), copy, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
    await chmod(copy, FILE_MODE)
    await syncFile(copy)
  } catch (error) {
    throw asStorageError(error, copy)
  }
  const after = await statOfOriginal(work.folder, diskPath)
  if (before?.ino !== after.ino || before.size !== after.size || before.mtimeMs !== after.mtimeMs) {
    throw refused(
      work.folder,
      `"${diskPath}" changed while it was copied: try again when no program writes to it`,
    )
  }
}

async function describe(
  copy: string,
  { path, class: fileClass }: SelectedFile,
  signal: AbortSignal | undefined,
): Promise<ContextFile> {
  const file = await open(copy, 'r')
  try {
    const { size } = await file.stat()
    const segments = await segmentsOf(path, file, size)
    const chunks = new Uint8Array(chunkCountOf(segments) * HASH_BYTES)
    const entry: ContextFile = {
      path,
      size,
      sha256: new Uint8Array(HASH_BYTES),
      class: fileClass,
      segments,
      chunks,
    }
    return { ...entry, sha256: await hashInto(file, entry, signal) }
  } finally {
    await file.close()
  }
}

/** Fills in `entry.chunks`; returns the hash of the whole file. Both come from the same bytes read once. */
async function hashInto(
  file: FileHandle,
  entry: ContextFile,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  return await pipe(
    readChunks(file, entry, signal),
    hashChunks,
    async (hashed) => await collectHashes(hashed, entry.chunks),
  )
}

async function* readChunks(
  file: FileHandle,
  entry: ContextFile,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const map = fileChunks(entry)
  for (let index = 0; index < map.count; index += 1) {
    signal?.throwIfAborted()
    const { offset, length } = map.chunk(index)
    yield await readAt(file, offset, length)
  }
}

interface HashedChunk {
  bytes: Uint8Array
  /** Computed on another thread meanwhile. */
  digest: Promise<Uint8Array>
}

async function* hashChunks(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<HashedChunk> {
  for await (const bytes of chunks) yield { bytes, digest: sha256(bytes) }
}

/** Puts the chunks' hashes into `target`, one after another; returns the hash of all bytes. */
async function collectHashes(hashed: AsyncIterable<HashedChunk>, target: Uint8Array): Promise<Uint8Array> {
  const whole = createHash('sha256')
  let offset = 0
  for await (const { bytes, digest } of hashed) {
    whole.update(bytes)
    target.set(await digest, offset)
    offset += HASH_BYTES
  }
  return new Uint8Array(whole.digest())
}

function refused(folder: string, what: string, cause?: unknown): HearthError {
  const message = `${folder} cannot be imported: ${what}`
  return new HearthError('context-invalid', message, { data: { folder }, cause })
}
