import type { SmallMap } from '../../../src/base/small-map.ts'
import type { Bitfield } from '../../../src/context-sharing/content/bitfield.ts'
import type { Flow } from '../../network/fair-flows.ts'
import type { UploadClass } from '../../../src/context-sharing/upload/core/upload-budget.ts'
import type { ChunkBans } from '../../../src/context-sharing/download/core/chunk-bans.ts'
import type { Shelf } from './shelf.ts'

/** A machine as those see it that fetch from it or serve it. */
export interface HostView {
  readonly id: string
  readonly tag: number
  /** Its number in the flow network. */
  readonly node: number
  /** To the middle of the network. */
  readonly latencyUs: number
  readonly shelves: Map<number, Shelf>
  readonly fetches: SmallMap<Fetcher>
  readonly uploads: Uploader
  /** The same once something was asked for here; most hosts of a large swarm never serve. */
  readonly usedUploads: Uploader | undefined
  /** Whether others can reach it. */
  isReachable: boolean
  /** The side of a partition: hosts on different sides cannot reach one another. */
  side: number
  /** The share of corrupted chunks among those it sends, in [0, 1]. */
  readonly corruptShare: number
  /** Peers that it does not fetch from, for what they sent. */
  readonly bans: ChunkBans
  shelf(context: number): Shelf | undefined
  /** Whether something of the context is here, or will be. */
  mayServe(context: number): boolean
}

/** A fetch under way, as those see it that it fetches from. */
export interface Fetcher {
  readonly host: HostView
  readonly context: number
  readonly bytesReceived: number
  readonly wastedBytes: number
  /** How much it matters to those that it fetches from. */
  readonly uploadClass: UploadClass
  /** Hosts that it fetches from now. */
  readonly sources: readonly HostView[]
  abort(): void
  bytesOf(chunk: number): number
  receive(from: HostView, chunk: number): void
  /** Bytes of a chunk that was cut short. */
  countWasted(from: HostView, bytes: number): void
  hearHas(from: HostView, chunks: number[]): void
  hearRefusal(from: HostView, chunks: number[]): void
  hearBusy(from: HostView, chunks: number[], retryMs: number, others: HostView[]): void
  hearOf(hosts: HostView[]): void
  hearClaim(chunks: number[]): void
  /** A source's host is gone. */
  lose(from: HostView): void
}

/** One context served to one fetcher. */
export interface Upload {
  readonly fetch: Fetcher
  readonly flow: Flow
  /** Asked for and not sent, in order. */
  readonly requested: Set<number>
  isSending: boolean
  isOver: boolean
}

/** The contexts that a host serves, as a fetcher sees them. */
export interface Uploader {
  bytesSent: number
  /** Undefined when all sessions are taken; else what the fetcher is shown to be here. */
  open(fetch: Fetcher): { upload: Upload; has: Bitfield } | undefined
  close(upload: Upload): void
  closeAll(): Upload[]
  /** The network is cut: what goes to hosts on another side stops, and they have to find that out. */
  cutOff(): void
  request(upload: Upload, chunks: readonly number[]): void
  cancel(upload: Upload, chunks: readonly number[]): void
  /** A chunk came to be here: whoever fetches from here may ask for it now. */
  tellHeld(context: number, chunk: number): void
  /** The fetcher says what it holds; needless when it is not wanted. */
  hearHeld(upload: Upload, chunks: Iterable<number>): void
  wantsToHear(upload: Upload): boolean
  /** Fetchers of a context, but for one. */
  others(context: number, but: HostView): HostView[]
}
