import { createHash } from 'node:crypto'
import { encode } from '@ipld/dag-cbor'
import { base32 } from 'multiformats/bases/base32'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { z } from 'zod'
import type { FileClass, Manifest, RuntimeInfo } from './manifest.ts'
import { comparePaths } from './manifest-path.ts'

const RAW_CODE = 0x55
const SHA2_256_CODE = 0x12

/** A file of a context as a hub lists it, before a byte of it is here. */
export interface ListedFile {
  path: string
  /** Bytes. */
  size: number
  class: FileClass
  /** sha2-256 of the whole file; of weights only is it part of the id. */
  sha256: Uint8Array | undefined
}

/**
 * The name of a model before its contextId is known: the same for everybody who is about to have it,
 * from whichever repository or mirror, and for everybody who has it. A CIDv1 (raw, sha2-256) of its
 * runtime info, its paths and sizes, and the hashes of its weights. Undefined when a hub does not say the
 * hash of a file of weights.
 */
export function originIdOf(runtime: RuntimeInfo, files: readonly ListedFile[]): string | undefined {
  const entries: [string, number, Uint8Array | null][] = []
  for (const { path, size, class: fileClass, sha256 } of files) {
    if (fileClass === 'weights' && sha256 === undefined) return undefined
    entries.push([path, size, fileClass === 'weights' ? (sha256 ?? null) : null])
  }
  entries.sort(([left], [right]) => comparePaths(left, right))
  const { engine, format, entry, dtype } = runtime
  const bytes = encode({ version: 1, runtime: { engine, format, entry, dtype }, files: entries })
  const digest = createHash('sha256').update(bytes).digest()
  return CID.createV1(RAW_CODE, createDigest(SHA2_256_CODE, digest)).toString(base32)
}

const known = new WeakMap<Manifest, string>()

/** The same of a context that is here. */
export function originIdOfManifest(manifest: Manifest): string {
  const id = known.get(manifest) ?? originIdOf(manifest.runtime, manifest.files) ?? ''
  known.set(manifest, id)
  return id
}

/** The form of every originId. */
export const originIdSchema: z.ZodType<string> = z
  .string()
  .regex(/^bafkrei[a-z2-7]{52}$/, 'is not an originId (59 characters from "bafkrei")')
