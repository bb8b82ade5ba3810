import { createHash } from 'node:crypto'
import { decode, encode } from '@ipld/dag-cbor'
import { base32 } from 'multiformats/bases/base32'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { z } from 'zod'
import { HearthError } from '../../base/errors.ts'
import { CHUNK_BYTES, FILE_SEGMENTS_MAX, MANIFEST_BYTES_MAX, MANIFEST_FILES_MAX } from '../../base/limits.ts'
import { comparePaths, pathFault, pathsFault } from './manifest-path.ts'

export const HASH_BYTES = 32
const DAG_CBOR_CODE = 0x71
const SHA2_256_CODE = 0x12

const FILE_CLASSES = ['weights', 'tokenizer', 'config', 'other'] as const
export type FileClass = (typeof FILE_CLASSES)[number]

/** One file of a context. */
export interface ContextFile {
  path: string
  /** Bytes. */
  size: number
  /** The hash of the whole file: the same value as the oid of Git LFS, so that a copy can be checked against its origin. */
  sha256: Uint8Array
  class: FileClass
  /**
   * Lengths of the parts of the file, each with a chunk grid of its own; they add up to `size`.
   * safetensors data starts a segment, so that a longer header does not shift every chunk of the tensors.
   */
  segments: number[]
  /** sha2-256 of each chunk in file order, 32 bytes each. A chunk ends after CHUNK_BYTES or with its segment. */
  chunks: Uint8Array
}

/** How the engine opens a context; part of the manifest, so of the contextId. */
export interface RuntimeInfo {
  engine: string
  format: string
  /** The file the engine opens, as a path of the context. */
  entry: string
  dtype: string
}

/** The content of a context, without its origin or names. */
export interface Manifest {
  version: 1
  chunkBytes: number
  /** Ordered by the UTF-8 bytes of their paths. */
  files: ContextFile[]
  runtime: RuntimeInfo
}

const hash = z.instanceof(Uint8Array).refine((bytes) => bytes.byteLength === HASH_BYTES, 'is not 32 bytes')
const word = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,31}$/, 'is not a short lower-case word')
const size = z.int().min(0)
const path = z.string().superRefine((value, context) => {
  const fault = pathFault(value)
  if (fault !== undefined)
    context.addIssue({ code: 'custom', message: `path ${JSON.stringify(value)} ${fault}` })
})

const fileSchema: z.ZodType<ContextFile> = z
  .strictObject({
    path,
    size,
    sha256: hash,
    class: z.enum(FILE_CLASSES),
    segments: z.array(z.int().min(1)).max(FILE_SEGMENTS_MAX),
    chunks: z.instanceof(Uint8Array),
  })
  .refine(
    (file) => file.segments.reduce((sum, length) => sum + length, 0) === file.size,
    'has segments that do not add up to its size',
  )
  .refine(
    (file) => file.chunks.byteLength === chunkCountOf(file.segments) * HASH_BYTES,
    'has a wrong number of chunk hashes',
  )

const manifestSchema: z.ZodType<Manifest> = z
  .strictObject({
    version: z.literal(1),
    chunkBytes: z.literal(CHUNK_BYTES),
    files: z.array(fileSchema).min(1).max(MANIFEST_FILES_MAX),
    runtime: z.strictObject({ engine: word, format: word, entry: path, dtype: word }),
  })
  .superRefine((manifest, context) => {
    const fault = filesFault(manifest)
    if (fault !== undefined) context.addIssue({ code: 'custom', message: fault })
  })

/** A manifest as it is stored, sent and hashed. Throws `context-invalid`. */
export function encodeManifest(manifest: Manifest): Uint8Array {
  const bytes = encode(check(manifest))
  if (bytes.byteLength > MANIFEST_BYTES_MAX) {
    throw invalid(
      `its manifest would be ${bytes.byteLength} bytes, the limit is ${MANIFEST_BYTES_MAX}: split the context, or leave files out`,
    )
  }
  return bytes
}

/**
 * The manifest in `bytes`, which must be the one encoding of it that `encodeManifest` makes and, when
 * given, the content of `contextId`. Throws `context-invalid`.
 */
export function decodeManifest(bytes: Uint8Array, contextId?: string): Manifest {
  if (bytes.byteLength > MANIFEST_BYTES_MAX) {
    throw invalid(`its manifest has ${bytes.byteLength} bytes, the limit is ${MANIFEST_BYTES_MAX}`)
  }
  if (contextId !== undefined && contextIdOf(bytes) !== contextId) {
    throw invalid(`the manifest given for it is that of ${contextIdOf(bytes)}`)
  }
  let value: unknown
  try {
    value = decode(bytes)
  } catch (cause) {
    throw invalid('its manifest is not dag-cbor', cause)
  }
  const manifest = check(value)
  if (Buffer.compare(encode(manifest), bytes) !== 0) throw invalid('its manifest is not canonical dag-cbor')
  return manifest
}

/** CIDv1 (dag-cbor, sha2-256) of an encoded manifest, in base32. */
export function contextIdOf(manifestBytes: Uint8Array): string {
  const digest = createHash('sha256').update(manifestBytes).digest()
  return CID.createV1(DAG_CBOR_CODE, createDigest(SHA2_256_CODE, digest)).toString(base32)
}

/** The form of every contextId; zod's `message` for a bad one says what to do. */
export const contextIdSchema: z.ZodType<string> = z
  .string()
  .regex(/^bafyrei[a-z2-7]{52}$/, 'is not a contextId (59 characters from "bafyrei")')

export function isContextId(text: string): boolean {
  return contextIdSchema.safeParse(text).success
}

/** Chunks of a file with these segments. */
export function chunkCountOf(segments: readonly number[]): number {
  return segments.reduce((count, length) => count + Math.ceil(length / CHUNK_BYTES), 0)
}

/** Bytes of all files, files that occur twice counted twice. */
export function bytesOf(manifest: Manifest): number {
  return manifest.files.reduce((sum, file) => sum + file.size, 0)
}

function check(value: unknown): Manifest {
  const checked = manifestSchema.safeParse(value)
  if (checked.success) return checked.data
  const issue = checked.error.issues[0]
  throw invalid(`its manifest: ${[issue?.path.join('.'), issue?.message].filter(Boolean).join(': ')}`)
}

function filesFault(manifest: Manifest): string | undefined {
  const paths = manifest.files.map((file) => file.path)
  const unordered = paths.findIndex(
    (path, index) => index > 0 && comparePaths(paths[index - 1] ?? '', path) > 0,
  )
  if (unordered !== -1) return `"${paths[unordered]}" is out of order`
  const fault = pathsFault(paths)
  if (fault !== undefined) return fault
  if (!Number.isSafeInteger(bytesOf(manifest))) return 'its files are too large to add up'
  if (!paths.includes(manifest.runtime.entry))
    return `its entry "${manifest.runtime.entry}" is not among its files`
  return undefined
}

function invalid(what: string, cause?: unknown): HearthError {
  return new HearthError('context-invalid', `not a context that Hearth can use: ${what}`, { cause })
}
