import { createHash, randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { FOLDER_MODE, toHex } from './disk.ts'
import type { ContextFile } from '../content/manifest.ts'

const FOLDERS = ['blobs', 'parts', 'manifests', 'folders', 'incoming'] as const

/**
 * Where everything lies below the store's folder:
 *
 *   blobs/SHA256-GRID        each file's content once, complete, every chunk of it verified
 *   parts/SHA256-GRID        a file in progress, sparse, and its journal (.journal)
 *   manifests/CONTEXT-ID     an encoded manifest
 *   folders/CONTEXT-ID/PATH  a stored context: hard links to blobs under the files' own paths
 *   names.json               local labels
 *   store.json               the store's bounds, pins, uses, and how far the scrub is
 *   incoming/                copies being imported; emptied when the store is opened
 */
export class StorePaths {
  readonly root: string

  constructor(root: string) {
    this.root = root
  }

  async make(): Promise<void> {
    for (const folder of FOLDERS) await mkdir(join(this.root, folder), { recursive: true, mode: FOLDER_MODE })
  }

  of(folder: (typeof FOLDERS)[number]): string {
    return join(this.root, folder)
  }

  /** A path below `incoming` that nothing has yet. */
  newIncoming(): string {
    return join(this.of('incoming'), randomBytes(8).toString('hex'))
  }

  async makeIncoming(): Promise<string> {
    const path = this.newIncoming()
    await mkdir(path, { recursive: true, mode: FOLDER_MODE })
    return path
  }

  blob(file: ContextFile): string {
    return join(this.root, 'blobs', gridKeyOf(file))
  }

  part(file: ContextFile): string {
    return join(this.root, 'parts', gridKeyOf(file))
  }

  journal(file: ContextFile): string {
    return `${this.part(file)}.journal`
  }

  manifest(contextId: string): string {
    return join(this.root, 'manifests', contextId)
  }

  contextFolder(contextId: string): string {
    return join(this.root, 'folders', contextId)
  }

  get names(): string {
    return join(this.root, 'names.json')
  }

  get memory(): string {
    return join(this.root, 'store.json')
  }
}

/**
 * Names a file by its hash and its chunk list. The chunk list is part of it because a manifest from a stranger may pair
 * a well-known file hash with other chunks: their bytes must not mix. It is what the bytes are checked by; the file
 * hash is the word of whoever imported them.
 */
export function gridKeyOf(file: ContextFile): string {
  const known = gridKeys.get(file) ?? newGridKey(file)
  gridKeys.set(file, known)
  return known
}

/** It is asked for at every chunk. */
const gridKeys = new WeakMap<ContextFile, string>()

function newGridKey(file: ContextFile): string {
  const grid = createHash('sha256').update(file.segments.join()).update('\n').update(file.chunks).digest()
  return `${toHex(file.sha256)}-${toHex(grid.subarray(0, 16))}`
}
