import type { FetchPriority } from '../wire/messages.ts'

/** Peers that may hold a context, wherever the answer comes from. May be called again to find more. */
export type FindHolders = (contextId: string, options: { signal: AbortSignal }) => Promise<string[]>

export interface SourceProgress {
  peer: string
  /** Verified bytes that came from this peer in this fetch. */
  bytes: number
  rateBytesPerSecond: number
}

export interface FetchProgress {
  contextId: string
  /** Verified bytes on disk, from any source. */
  bytesDone: number
  bytesTotal: number
  /** Most bytes first. */
  sources: SourceProgress[]
}

export interface FetchOptions {
  signal?: AbortSignal | undefined
  /** Called about four times a second, and once at the end. */
  onProgress?: (progress: FetchProgress) => void
  /** Default: normal. */
  priority?: FetchPriority
}

export interface FetchResult {
  contextId: string
  /** Where the files are now. */
  folder: string
  bytesTotal: number
  /** Bytes fetched from each peer, most first; empty when nothing had to be fetched. */
  sources: SourceProgress[]
  /** Bytes that were on this disk before (an earlier try, or a file that another context has too). */
  bytesReused: number
}
