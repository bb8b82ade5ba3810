import { readFile, readdir, stat } from 'node:fs/promises'
import { isHearthError } from '../../base/errors.ts'
import { decodeManifest, isContextId, type RuntimeInfo } from '../content/manifest.ts'
import { StorePaths } from '../disk/store-paths.ts'
import { ContextNames } from './context-names.ts'

export interface StoredContext {
  contextId: string
  runtime: RuntimeInfo
  /** Its files under their own paths; undefined until all of them are here. */
  folder: string | undefined
}

/**
 * A context of a store that a running peer may have open: this reads its files and changes none. Undefined
 * for a name or CID that the store does not know, or knows several of, and for a damaged entry.
 */
export async function findStoredContext(
  storeFolder: string,
  nameOrId: string,
): Promise<StoredContext | undefined> {
  const paths = new StorePaths(storeFolder)
  const names = new ContextNames(paths.names)
  try {
    const idsHere = (await readdir(paths.of('manifests'))).filter(isContextId)
    await names.load()
    const contextId = names.resolve(nameOrId, idsHere)
    const { runtime } = decodeManifest(await readFile(paths.manifest(contextId)), contextId)
    const folder = paths.contextFolder(contextId)
    const isWhole = await stat(folder).then(
      () => true,
      () => false,
    )
    return { contextId, runtime, folder: isWhole ? folder : undefined }
  } catch (error) {
    const isAbsent = (error as NodeJS.ErrnoException).code === 'ENOENT'
    if (isAbsent || isHearthError(error)) return undefined
    throw error
  }
}
