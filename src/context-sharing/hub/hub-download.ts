// A model from a hub into Hugging Face's cache, from where it is imported like any other folder.
import type { Clock } from '../../base/clock.ts'
import { HearthError } from '../../base/errors.ts'
import { requireRoom } from '../disk/disk.ts'
import { findEntry, selectFiles, type Selection } from '../import/file-selection.ts'
import { pathsFault } from '../content/manifest-path.ts'
import type { FileClass } from '../content/manifest.ts'
import { originIdOf } from '../content/origin-id.ts'
import { filesFault } from './hub-check.ts'
import { downloadBlob, heldBytesOf } from './hub-blob.ts'
import { HubCache } from './hub-cache.ts'
import { HubClient, type HubFile } from './hub-client.ts'
import { hubFailure } from './hub-errors.ts'
import type { HubEnvironment, HubRepo } from './hub-repo.ts'
import { Patience } from './patience.ts'

export interface DownloadProgress {
  /** Complete files, and all files that the context needs. */
  files: number
  filesTotal: number
  /** Bytes that are here, earlier runs included, and all bytes that the context needs. */
  bytes: number
  bytesTotal: number
}

export interface DownloadOptions {
  environment: HubEnvironment
  /** Which of several models in the repository; file-selection.ts has the default. */
  dtype?: string | undefined
  /** Called as often as bytes come. */
  onProgress: (progress: DownloadProgress) => void
  /** Called at a transient failure of the hub: the next attempt follows after `ms`. */
  onWait: (reason: string, ms: number) => void
  signal?: AbortSignal | undefined
}

export interface DownloadedModel {
  /** A snapshot in the cache: links to files, as an import takes them. */
  folder: string
  commit: string
  /** Files of the repository that do not belong to the context; undefined when the hub was not asked. */
  leftOut?: string[]
  /** The model that was chosen of those in the repository; undefined when the hub was not asked. */
  choice?: ModelChoice
}

export interface ModelChoice {
  /** The file that the engine opens. */
  entry: string
  dtype: string
  /** The dtypes that the repository has of this model. */
  variants: string[]
}

const SHA256_HEX_CHARACTERS = 64
const FREE_BYTES_MIN = 256 * 1024 * 1024

/**
 * Downloads the files that a context needs. What is in the cache is not asked for again, and a download
 * that was broken off goes on where it was. Throws what `HubDownload` throws.
 */
export async function downloadModel(
  components: { clock: Clock },
  repo: HubRepo,
  options: DownloadOptions,
): Promise<DownloadedModel> {
  const { environment } = options
  if (environment.isOffline) return await modelInCache(repo, environment)
  return await (await HubDownload.plan(components, repo, options)).run(options)
}

/** The cached files of a model, without a request to the hub. Throws `download-failed` when the cache has none. */
export async function modelInCache(repo: HubRepo, environment: HubEnvironment): Promise<DownloadedModel> {
  const cache = new HubCache(environment.cachePath, repo)
  const commit = await cache.commitOffline(repo.revision)
  return { folder: cache.snapshotPath(commit), commit }
}

interface HubDownloadComponents {
  clock: Clock
  client: HubClient
  cache: HubCache
}

/** A hub model whose files are known; they may or may not be downloaded. */
export class HubDownload {
  readonly #components: HubDownloadComponents
  readonly #repo: HubRepo
  readonly #selection: Selection
  readonly commit: string
  /** Files of the context. */
  readonly files: readonly HubFile[]

  private constructor(
    components: HubDownloadComponents,
    repo: HubRepo,
    { commit, files, selection }: { commit: string; files: HubFile[]; selection: Selection },
  ) {
    this.#components = components
    this.#repo = repo
    this.#selection = selection
    this.commit = commit
    this.files = files
  }

  /**
   * Asks the hub which files a context needs. Throws `download-failed`, `deadline-passed`, or
   * `context-invalid` or `model-unsupported` when the repository holds no model that could run.
   */
  static async plan(
    { clock }: { clock: Clock },
    repo: HubRepo,
    { environment, dtype, onWait, signal }: Omit<DownloadOptions, 'onProgress'>,
  ): Promise<HubDownload> {
    const cache = new HubCache(environment.cachePath, repo)
    const client = new HubClient({ clock }, environment, repo)
    const patience = new Patience(clock, onWait, signal)
    const commit = await patience.attempt(() => client.commit(signal))
    const listed = await patience.attempt(() => client.files(commit, signal))
    const selection = select(listed, repo, dtype)
    const files = wantedOf(listed, selection)
    return new HubDownload({ clock, client, cache }, repo, { commit, files, selection })
  }

  /**
   * The fault of a folder that came from peers under the originId; undefined when it is the same as a
   * download. Weights are not read: their hashes are part of the originId, and were verified as they came.
   */
  async faultOf(folder: string): Promise<string | undefined> {
    const others = this.files.filter(({ path }) => this.#classes.get(path) !== 'weights')
    return await filesFault(folder, others)
  }

  /** The model's originId; undefined when the hub does not list the hash of some weights. */
  get originId(): string | undefined {
    const classes = this.#classes
    const listed = this.files.map(({ path, size, hash }) => ({
      path,
      size,
      class: classes.get(path) ?? 'other',
      sha256: hash.length === SHA256_HEX_CHARACTERS ? new Uint8Array(Buffer.from(hash, 'hex')) : undefined,
    }))
    return originIdOf(this.#selection.runtime, listed)
  }

  get #classes(): ReadonlyMap<string, FileClass> {
    return new Map(this.#selection.files.map((file) => [file.path, file.class]))
  }

  get bytesTotal(): number {
    return sum(this.files.map(({ size }) => size))
  }

  /** Files of the repository that do not belong to the context. */
  get leftOut(): string[] {
    return this.#selection.leftOut
  }

  /** The files that the engine will open, and the dtypes that the repository has of this model. */
  get choice(): ModelChoice {
    const { runtime, variants } = this.#selection
    return { entry: runtime.entry, dtype: runtime.dtype, variants }
  }

  /** Bytes that the cache has. */
  async bytesHeld(): Promise<number> {
    return sum(await heldOf(this.#components.cache, this.files))
  }

  /**
   * Downloads the files that the cache lacks. Throws `download-failed`, `deadline-passed`, `data-in-use`,
   * `disk-full`, or the signal's reason; what arrived stays for the next time.
   */
  async run(options: DownloadOptions): Promise<DownloadedModel> {
    const { cache } = this.#components
    const unlock = await cache.lock()
    try {
      await downloadFiles({ ...this.#components, commit: this.commit, options }, this.files)
      await place(cache, this.commit, this.files, this.#selection.runtime.entry)
      await cache.setCommit(this.#repo.revision, this.commit)
      const { commit, leftOut, choice } = this
      return { folder: cache.snapshotPath(commit), commit, leftOut, choice }
    } finally {
      unlock()
    }
  }
}

/** The files of the context, before a byte of them is downloaded. */
function select(files: readonly HubFile[], { name }: HubRepo, dtype: string | undefined): Selection {
  const paths = files.map(({ path }) => path)
  const entry = findEntry(paths, { dtype, folder: name })
  const selection = selectFiles(paths, entry)
  const fault = pathsFault(paths)
  if (fault !== undefined) throw hubFailure(`${name} cannot be stored: ${fault}`, { reason: 'refused' })
  const { format } = selection.runtime
  if (format === 'onnx') return selection
  throw new HearthError(
    'model-unsupported',
    `${name} has its weights as ${format} only, and Hearth runs ONNX: look for an ONNX export, for example on https://huggingface.co/onnx-community`,
  )
}

interface DownloadWork {
  clock: Clock
  client: HubClient
  cache: HubCache
  commit: string
  options: DownloadOptions
}

async function downloadFiles(work: DownloadWork, wanted: readonly HubFile[]): Promise<void> {
  const { clock, client, cache, commit, options } = work
  const { onProgress, onWait, signal } = options
  const held = await heldOf(cache, wanted)
  const bytesTotal = sum(wanted.map(({ size }) => size))
  await requireRoom(cache.path, bytesTotal - sum(held), FREE_BYTES_MIN)
  for (const [index, file] of wanted.entries()) {
    const tell = (bytes: number): void => {
      held[index] = bytes
      const whole = wanted.filter(({ size }, at) => held[at] === size).length
      onProgress({ files: whole, filesTotal: wanted.length, bytes: sum(held), bytesTotal })
    }
    const path = cache.blobPath(file.hash)
    await downloadBlob({ clock, client, commit, file, path, onBytes: tell, onWait, signal })
  }
}

async function heldOf(cache: HubCache, files: readonly HubFile[]): Promise<number[]> {
  return await Promise.all(files.map((file) => heldBytesOf(cache.blobPath(file.hash), file)))
}

/** The entry comes last, so that a snapshot left by a killed process has no model in it. */
async function place(
  cache: HubCache,
  commit: string,
  files: readonly HubFile[],
  entry: string,
): Promise<void> {
  const [last, others] = partition(files, ({ path }) => path === entry)
  for (const { path, hash } of [...others, ...last]) await cache.place(commit, path, hash)
}

function wantedOf(files: readonly HubFile[], selection: Selection): HubFile[] {
  const paths = new Set(selection.files.map(({ path }) => path))
  return files.filter(({ path }) => paths.has(path))
}

function partition<T>(items: readonly T[], isFirst: (item: T) => boolean): [T[], T[]] {
  return [items.filter(isFirst), items.filter((item) => !isFirst(item))]
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
