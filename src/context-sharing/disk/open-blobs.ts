import { type FileHandle, open } from 'node:fs/promises'
import { BLOBS_OPEN_MAX } from '../../base/limits.ts'

interface OpenFile {
  handle: Promise<FileHandle>
  users: number
}

/** Files kept open for reading: opening one for each chunk takes as long as reading it does. */
export class OpenBlobs {
  /** By path, the one used longest ago first. */
  readonly #files = new Map<string, OpenFile>()

  /** Does `work` with the file; undefined when it is not there. */
  async read<T>(path: string, work: (file: FileHandle) => Promise<T>): Promise<T | undefined> {
    const file = this.#files.get(path) ?? { handle: open(path, 'r'), users: 0 }
    this.#files.delete(path)
    this.#files.set(path, file)
    file.users += 1
    try {
      this.#closeUnused()
      const handle = await file.handle.catch((error: unknown) => {
        if (this.#files.get(path) === file) this.#files.delete(path)
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      })
      return handle === undefined ? undefined : await work(handle)
    } finally {
      file.users -= 1
    }
  }

  /** Lets go of a file that is to be removed or replaced, once it is read no more. */
  async drop(path: string): Promise<void> {
    const file = this.#files.get(path)
    this.#files.delete(path)
    // Closing waits for what is being read.
    await file?.handle.then((handle) => handle.close()).catch(() => {})
  }

  async close(): Promise<void> {
    await Promise.all([...this.#files.keys()].map((path) => this.drop(path)))
  }

  #closeUnused(): void {
    for (const [path, { users }] of this.#files) {
      if (this.#files.size <= BLOBS_OPEN_MAX) return
      if (users === 0) void this.drop(path)
    }
  }
}
