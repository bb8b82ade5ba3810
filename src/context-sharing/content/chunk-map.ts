import { CHUNK_BYTES } from '../../base/limits.ts'
import { type ContextFile, HASH_BYTES, type Manifest, chunkCountOf } from './manifest.ts'

/** Where a chunk lies, and what it must hash to. */
export interface Chunk {
  /** Number in the context: files in manifest order, chunks in file order. */
  index: number
  /** The file's place in the manifest, and the chunk's number within the file. */
  file: number
  indexInFile: number
  /** Bytes from the start of the file. */
  offset: number
  length: number
  sha256: Uint8Array
}

interface SegmentStart {
  file: number
  firstChunk: number
  firstChunkInFile: number
  offset: number
  length: number
}

/** The chunk numbers of one context; every look-up is a binary search over its segments. */
export class ChunkMap {
  readonly count: number
  readonly #files: readonly ContextFile[]
  readonly #segments: SegmentStart[] = []
  readonly #firstChunks: number[] = []

  constructor(manifest: Manifest) {
    this.#files = manifest.files
    let next = 0
    for (const [file, { segments }] of manifest.files.entries()) {
      this.#firstChunks.push(next)
      next = this.#addSegments(file, segments, next)
    }
    this.count = next
  }

  #addSegments(file: number, segments: readonly number[], firstChunkOfFile: number): number {
    let firstChunk = firstChunkOfFile
    let offset = 0
    for (const length of segments) {
      this.#segments.push({
        file,
        firstChunk,
        firstChunkInFile: firstChunk - firstChunkOfFile,
        offset,
        length,
      })
      firstChunk += Math.ceil(length / CHUNK_BYTES)
      offset += length
    }
    return firstChunk
  }

  /** Throws a RangeError for a number that the context does not have. */
  chunk(index: number): Chunk {
    const segment = this.#segmentOf(index)
    const inSegment = index - segment.firstChunk
    const indexInFile = segment.firstChunkInFile + inSegment
    const hashes = this.#files[segment.file]?.chunks ?? new Uint8Array()
    return {
      index,
      file: segment.file,
      indexInFile,
      offset: segment.offset + inSegment * CHUNK_BYTES,
      length: Math.min(CHUNK_BYTES, segment.length - inSegment * CHUNK_BYTES),
      sha256: hashes.subarray(indexInFile * HASH_BYTES, (indexInFile + 1) * HASH_BYTES),
    }
  }

  /** First chunk number of a file, and how many it has. */
  ofFile(file: number): { first: number; count: number } {
    const segments = this.#files[file]?.segments ?? []
    return { first: this.#firstChunks[file] ?? 0, count: chunkCountOf(segments) }
  }

  #segmentOf(index: number): SegmentStart {
    if (!Number.isInteger(index) || index < 0 || index >= this.count) {
      throw new RangeError(`chunk ${index} of ${this.count}`)
    }
    let low = 0
    let high = this.#segments.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#segments[middle]?.firstChunk ?? 0) <= index) low = middle
      else high = middle - 1
    }
    const segment = this.#segments[low]
    if (segment === undefined) throw new RangeError(`chunk ${index} of ${this.count}`)
    return segment
  }
}

/** The chunks of one file alone, numbered from 0. */
export function fileChunks(file: ContextFile): ChunkMap {
  return new ChunkMap({
    version: 1,
    chunkBytes: CHUNK_BYTES,
    files: [file],
    runtime: { engine: '', format: '', entry: file.path, dtype: '' },
  })
}
