// Hugging Face's cache on this machine, which other tools use too
// (https://huggingface.co/docs/hub/local-cache): blobs by hash, and for each commit a folder of links.
import { copyFile, mkdir, readFile, rm, stat, symlink } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { HearthError, messageOf } from '../../base/errors.ts'
import { lockForThisProcess } from '../../base/process-lock.ts'
import { replaceFile } from '../disk/disk.ts'
import { isCommit, type HubRepo } from './hub-repo.ts'

export class HubCache {
  readonly path: string
  readonly #name: string
  readonly #repoPath: string

  constructor(path: string, { name }: HubRepo) {
    this.path = path
    this.#name = name
    this.#repoPath = join(path, this.#folderName)
  }

  get #folderName(): string {
    return ['models', ...this.#name.split('/')].join('--')
  }

  /** Makes the folders and locks the model for this process. Throws `data-in-use`, or `config-invalid` for a read-only cache. */
  async lock(): Promise<() => void> {
    await this.#makeFolders()
    return lockForThisProcess(
      join(this.path, '.locks', this.#folderName, 'hearth.lock'),
      `another hearth process is downloading ${this.#name}: wait until it is done, then run the command again`,
    )
  }

  async #makeFolders(): Promise<void> {
    try {
      await mkdir(join(this.#repoPath, 'blobs'), { recursive: true })
    } catch (cause) {
      throw new HearthError(
        'config-invalid',
        `cannot write the cache ${this.path} (${messageOf(cause)}): set HF_HOME or HF_HUB_CACHE to a writable folder`,
        { cause },
      )
    }
  }

  blobPath(hash: string): string {
    return join(this.#repoPath, 'blobs', hash)
  }

  snapshotPath(commit: string): string {
    return join(this.#repoPath, 'snapshots', commit)
  }

  async setCommit(revision: string, commit: string): Promise<void> {
    if (isCommit(revision)) return
    const path = this.#refPath(revision)
    await mkdir(dirname(path), { recursive: true })
    await replaceFile(path, `${path}.incomplete`, new TextEncoder().encode(commit))
  }

  /** Puts a blob into a snapshot under its path: a link, or a copy where there are no links. */
  async place(commit: string, path: string, hash: string): Promise<void> {
    const place = join(this.snapshotPath(commit), path)
    const blob = this.blobPath(hash)
    await mkdir(dirname(place), { recursive: true })
    await rm(place, { force: true })
    try {
      await symlink(relative(dirname(place), blob), place)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error
      await copyFile(blob, place)
    }
  }

  /** The cached commit of a revision. Throws `download-failed` when the cache has no snapshot of it. */
  async commitOffline(revision: string): Promise<string> {
    const commit = await this.#commitOf(revision)
    if (commit !== undefined && (await isFolder(this.snapshotPath(commit)))) return commit
    throw new HearthError(
      'download-failed',
      `${this.#name}@${revision} is not in the cache ${this.path}, and HF_HUB_OFFLINE forbids downloads: unset HF_HUB_OFFLINE and run the command again`,
      { data: { reason: 'offline' } },
    )
  }

  /** The commit of a revision at its last download; undefined when it was never downloaded. */
  async #commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision
    const text = await readFile(this.#refPath(revision), 'utf8').catch(() => undefined)
    return text !== undefined && isCommit(text.trim()) ? text.trim() : undefined
  }

  #refPath(revision: string): string {
    return join(this.#repoPath, 'refs', revision)
  }
}

async function isFolder(path: string): Promise<boolean> {
  const stats = await stat(path).catch(() => undefined)
  return stats?.isDirectory() === true
}
