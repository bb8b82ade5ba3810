// A model from a hub into Hugging Face's cache, from where it is imported like any other folder.
import type { Clock } from '../../base/clock.ts'
import { HearthError } from '../../base/errors.ts'
import { requireRoom } from '../disk.ts'
import { selectFiles, type Selection } from '../file-selection.ts'
import { pathsFault } from '../manifest-path.ts'
import { downloadBlob, heldBytesOf } from './hub-blob.ts'
import { HubCache } from './hub-cache.ts'
import { HubClient, type HubFile } from './hub-client.ts'
import { hubFailure } from './hub-errors.ts'
import type { HubEnvironment, HubRepo } from './hub-repo.ts'
import { Patience } from './patience.ts'

export interface DownloadProgress {
  /** Files that are whole, and all that the context needs. */
  files: number
  filesTotal: number
  /** Bytes that are here, with those of earlier runs, and all that the context needs. */
  bytes: number
  bytesTotal: number
}

export interface DownloadOptions {
  environment: HubEnvironment
  /** Which of several models in the repository; file-selection.ts has the default. */
  dtype?: string | undefined
  /** Called as often as bytes come. */
  onProgress: (progress: DownloadProgress) => void
  /** Called when the hub fails in a way that may pass: it is asked again after `ms`. */
  onWait: (reason: string, ms: number) => void
  signal?: AbortSignal | undefined
}

export interface DownloadedModel {
  /** A snapshot in the cache: links to files, as an import takes them. */
  folder: string
  commit: string
  /** Files of the repository that do not belong to the context; undefined when the hub was not asked. */
  leftOut?: string[]
}

const FREE_BYTES_MIN = 256 * 1024 * 1024

/**
 * Downloads the files that a context needs. What is in the cache is not asked for again, and a download
 * that was broken off goes on where it was. Throws `download-failed`, `context-invalid` or
 * `model-unsupported` when the repository holds no model that could run, `data-in-use`, `disk-full`,
 * or the signal's reason.
 */
export async function downloadModel(
  { clock }: { clock: Clock },
  repo: HubRepo,
  options: DownloadOptions,
): Promise<DownloadedModel> {
  const { environment, signal } = options
  const cache = new HubCache(environment.cachePath, repo)
  if (environment.isOffline) {
    const commit = await cache.commitOffline(repo.revision)
    return { folder: cache.snapshotPath(commit), commit }
  }
  const unlock = await cache.lock()
  try {
    const client = new HubClient({ clock }, environment, repo)
    const patience = new Patience(clock, options.onWait, signal)
    const commit = await patience.attempt(() => client.commit(signal))
    const files = await patience.attempt(() => client.files(commit, signal))
    const selection = select(files, repo, options.dtype)
    await downloadFiles({ clock, client, cache, commit, options }, files, selection)
    await place(cache, commit, files, selection)
    await cache.setCommit(repo.revision, commit)
    return { folder: cache.snapshotPath(commit), commit, leftOut: selection.leftOut }
  } finally {
    unlock()
  }
}

/** The files of the context, before a byte of them is downloaded. */
function select(files: readonly HubFile[], { name }: HubRepo, dtype: string | undefined): Selection {
  const selection = selectFiles(
    files.map(({ path }) => path),
    {},
    dtype,
  )
  const fault = pathsFault(files.map(({ path }) => path))
  if (fault !== undefined) throw hubFailure(`${name} cannot be stored: ${fault}`, { reason: 'refused' })
  const { format } = selection.runtime
  if (format === 'onnx') return selection
  throw new HearthError(
    'model-unsupported',
    `${name} has its weights as ${format} only, and models run from ONNX: look for an export of it, as those of onnx-community`,
  )
}

interface DownloadWork {
  clock: Clock
  client: HubClient
  cache: HubCache
  commit: string
  options: DownloadOptions
}

async function downloadFiles(
  work: DownloadWork,
  files: readonly HubFile[],
  selection: Selection,
): Promise<void> {
  const { clock, client, cache, commit, options } = work
  const { onProgress, onWait, signal } = options
  const wanted = wantedOf(files, selection)
  const held = await Promise.all(wanted.map((file) => heldBytesOf(cache.blobPath(file.hash), file)))
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

/** The entry comes last: a snapshot that a killed process left half made has no model in it. */
async function place(
  cache: HubCache,
  commit: string,
  files: readonly HubFile[],
  selection: Selection,
): Promise<void> {
  const { entry } = selection.runtime
  const [last, others] = partition(wantedOf(files, selection), ({ path }) => path === entry)
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
