import { SmallMap } from '../../../src/base/small-map.ts'
import { ChunkBans } from '../../../src/context-sharing/download/core/chunk-bans.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import type { RandomStreams } from '../../kernel/random-streams.ts'
import type { FairFlows } from '../../network/fair-flows.ts'
import type { Fetcher, HostView } from './host-view.ts'
import type { Shelf } from './shelf.ts'
import { Uploads } from './uploads.ts'

export interface HostWorld {
  kernel: Kernel
  flows: FairFlows
  streams: RandomStreams
}

export interface HostLine {
  /** The share of corrupted chunks among those it sends, in [0, 1]. Default: 0. */
  corruptShare?: number
  upBytesPerS: number
  downBytesPerS: number
  latencyUs: number
  /** The owner's upload limit; undefined: the whole uplink. */
  uploadCapBytesPerS?: number | undefined
}

/** A machine on the network that stores contexts and serves them: a peer, or the origin. */
export class Host implements HostView {
  readonly id: string
  readonly tag: number
  /** Its number in the flow network. */
  readonly node: number
  /** To the middle of the network. */
  readonly latencyUs: number
  readonly #world: HostWorld
  usedUploads: Uploads | undefined
  readonly shelves: Map<number, Shelf> = new Map<number, Shelf>()
  readonly fetches: SmallMap<Fetcher> = new SmallMap<Fetcher>()
  readonly bans: ChunkBans = new ChunkBans()
  readonly corruptShare: number
  /** Whether others can reach it. */
  isReachable = false
  side = 0

  constructor(world: HostWorld, id: string, tag: number, line: HostLine) {
    this.id = id
    this.tag = tag
    this.latencyUs = line.latencyUs
    this.corruptShare = line.corruptShare ?? 0
    this.node = world.flows.addNode(line.upBytesPerS, line.downBytesPerS)
    this.#world = world
    // The room of a cap begins to fill now.
    if (line.uploadCapBytesPerS !== undefined) this.usedUploads = this.#makeUploads(line.uploadCapBytesPerS)
  }

  get uploads(): Uploads {
    return (this.usedUploads ??= this.#makeUploads())
  }

  #makeUploads(capBytesPerS?: number): Uploads {
    const { kernel, flows, streams } = this.#world
    return new Uploads(kernel, flows, this, { random: streams.of(this.id, 'release'), capBytesPerS })
  }

  shelf(context: number): Shelf | undefined {
    return this.shelves.get(context)
  }

  /** Whether those that fetch a context here have all of it together. */
  isElsewhere(context: number): boolean {
    const shelves = this.uploads.fetchers(context).flatMap((host) => host.shelf(context) ?? [])
    const chunks = this.shelf(context)?.chunks
    if (chunks === undefined || shelves.length === 0) return false
    for (const chunk of chunks) if (!shelves.some((shelf) => shelf.chunks.has(chunk))) return false
    return true
  }

  /** Whether something of the context is here, or will be. */
  mayServe(context: number): boolean {
    return this.isReachable && (this.fetches.has(context) || (this.shelf(context)?.chunks.count ?? 0) > 0)
  }
}
