import {
  newDownload,
  step,
  type Download,
  type DownloadEffect,
  type DownloadEvent,
} from '../../../src/context-sharing/download/core/download.ts'
import { DOWNLOAD_TICK_MS, UNAVAILABLE_AFTER_MS } from '../../../src/context-sharing/download/timings.ts'
import type { UploadClass } from '../../../src/context-sharing/upload/core/upload-budget.ts'
import type { Random } from '../../../src/base/random.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import type { FairFlows } from '../../network/fair-flows.ts'
import type { Fetcher, HostView, Upload } from '../swarm/host-view.ts'
import { Shelf } from '../swarm/shelf.ts'
import { TAG } from '../events/tags.ts'

/** The parts of the world that a fetch uses. */
export interface FetchWorld {
  kernel: Kernel
  flows: FairFlows
  chunkBytes(context: number): Uint32Array
  hostNamed(id: string): HostView
  findHolders(context: number, host: HostView, onFound: (hosts: HostView[]) => void): void
  countBytes(from: HostView, bytes: number): void
  /** Counted as they are found out. */
  readonly faults: { corruptChunks: number; bans: number }
}

/** One context on its way to one host: turns the effects of core/download into flows, as download-run.ts does into streams. */
export class Fetch implements Fetcher {
  readonly host: HostView
  readonly context: number
  uploadClass: UploadClass = 'urgent'
  readonly #world: FetchWorld
  readonly #random: Random
  readonly #lengths: Uint32Array
  readonly #download: Download
  readonly #shelf: Shelf
  readonly #sources = new Map<string, Upload>()
  readonly #onEnd: (reason: string | undefined) => void
  #isOver = false
  bytesReceived = 0
  /** Bytes of chunks that were cut short or came twice. */
  wastedBytes = 0

  /** `onEnd` gets why it was given up; undefined when all is here. */
  constructor(
    world: FetchWorld,
    { host, context }: { host: HostView; context: number },
    random: Random,
    onEnd: (reason: string | undefined) => void,
  ) {
    this.host = host
    this.context = context
    this.#world = world
    this.#random = random
    this.#onEnd = onEnd
    this.#lengths = world.chunkBytes(context)
    this.#shelf = host.shelf(context) ?? new Shelf(this.#lengths.length, false)
    host.shelves.set(context, this.#shelf)
    this.#download = newDownload(this.#lengths, this.#shelf.missing(), [], {
      unavailableAfterMs: UNAVAILABLE_AFTER_MS,
    })
  }

  get sources(): HostView[] {
    return [...this.#sources.keys()].map((id) => this.#world.hostNamed(id))
  }

  start(): void {
    this.host.fetches.set(this.context, this)
    this.#dispatch({ kind: 'start' })
    this.#tickLater()
  }

  /** The host has stopped, or dropped the fetch. Chunks on its disk stay. */
  abort(): void {
    this.#end()
  }

  bytesOf(chunk: number): number {
    return this.#lengths[chunk] ?? 0
  }

  receive(from: HostView, chunk: number): void {
    const bytes = this.bytesOf(chunk)
    this.bytesReceived += bytes
    this.#world.countBytes(from, bytes)
    const upload = this.#sources.get(from.id)
    if (this.#isOver || upload === undefined) return
    this.#tellProgress(from.id, upload)
    if (from.corruptShare > 0 && this.#random.next() < from.corruptShare) {
      this.wastedBytes += bytes
      this.#world.faults.corruptChunks += 1
      this.#dispatch({ kind: 'chunk-corrupt', peer: from.id, chunk })
      return
    }
    if (this.#shelf.chunks.has(chunk)) this.wastedBytes += bytes
    else {
      this.#shelf.chunks.add(chunk)
      this.host.uploads.tellHeld(this.context, chunk)
      for (const [id, other] of this.#sources) this.#tellHeld(this.#world.hostNamed(id), other, [chunk])
    }
    this.#dispatch({ kind: 'chunk-held', from: from.id, chunk })
  }

  countWasted(from: HostView, bytes: number): void {
    this.bytesReceived += bytes
    this.wastedBytes += bytes
    this.#world.countBytes(from, bytes)
  }

  hearHas(from: HostView, chunks: number[]): void {
    this.#dispatch({ kind: 'source-has', peer: from.id, chunks })
  }

  hearRefusal(from: HostView, chunks: number[]): void {
    this.#dispatch({ kind: 'chunks-refused', peer: from.id, chunks })
  }

  hearBusy(from: HostView, chunks: number[], retryMs: number, others: HostView[]): void {
    const alternatives = this.#namesOf(others)
    this.#dispatch({ kind: 'source-busy', peer: from.id, chunks, retryMs, alternatives })
  }

  hearOf(hosts: HostView[]): void {
    this.#dispatch({ kind: 'holders-found', peers: this.#namesOf(hosts), wasAsked: false })
  }

  hearClaim(chunks: number[]): void {
    this.#dispatch({ kind: 'claimed', chunks })
  }

  lose(from: HostView): void {
    if (!this.#sources.delete(from.id)) return
    this.#dispatch({ kind: 'source-lost', peer: from.id, reason: 'its connection was closed' })
  }

  #dispatch(event: DownloadEvent): void {
    if (this.#isOver) return
    for (const effect of step(this.#download, event, this.#world.kernel.nowMs, this.#random)) {
      this.#perform(effect)
    }
  }

  #perform(effect: DownloadEffect): void {
    switch (effect.kind) {
      case 'find':
        return this.#world.findHolders(this.context, this.host, (hosts) =>
          this.#dispatch({ kind: 'holders-found', peers: this.#namesOf(hosts), wasAsked: true }),
        )
      case 'connect':
        return this.#connect(this.#world.hostNamed(effect.peer))
      case 'request':
        return this.#overLink(effect.peer, (upload, source) => source.uploads.request(upload, effect.chunks))
      case 'cancel':
        return this.#overLink(effect.peer, (upload, source) => source.uploads.cancel(upload, effect.chunks))
      case 'claim':
        return this.#overLink(effect.peer, (_upload, source) =>
          source.fetches.get(this.context)?.hearClaim(effect.chunks),
        )
      case 'ban':
        this.#world.faults.bans += 1
        this.host.bans.add(effect.peer, this.#world.kernel.nowMs)
        return this.#close(effect.peer)
      case 'close':
        return this.#close(effect.peer)
      case 'complete':
        this.#end()
        return this.#onEnd(undefined)
      case 'give-up':
        this.#end()
        return this.#onEnd(effect.reason)
    }
  }

  /** Dialling takes a round trip, opening the stream another. */
  #connect(source: HostView): void {
    const roundTripUs = 2 * (this.host.latencyUs + source.latencyUs)
    this.#later(2 * roundTripUs, () => {
      const lost = (reason: string): void => this.#dispatch({ kind: 'source-lost', peer: source.id, reason })
      if (!this.#download.sources.has(source.id)) return
      if (!source.mayServe(this.context) || source.side !== this.host.side)
        return lost('it is not there, or has nothing of it')
      const opened = source.uploads.open(this)
      if (opened === undefined) {
        this.hearOf(source.uploads.others(this.context, this.host))
        return lost('all its sessions are taken')
      }
      const { upload, has } = opened
      this.#sources.set(source.id, upload)
      // A fetching peer will hold the context, chunk by chunk.
      source.fetches.get(this.context)?.hearOf([this.host])
      this.#tellHeld(source, upload, this.#shelf.chunks)
      this.#dispatch({ kind: 'source-open', peer: source.id, has, roundTripMs: roundTripUs / 1000 })
    })
  }

  /** A source that shows chunk by chunk what it has hears what came from elsewhere. */
  #tellHeld(source: HostView, upload: Upload, chunks: Iterable<number>): void {
    if (!source.uploads.wantsToHear(upload)) return
    this.#later(this.host.latencyUs + source.latencyUs, () => source.uploads.hearHeld(upload, chunks))
  }

  #overLink(peer: string, act: (upload: Upload, source: HostView) => void): void {
    const upload = this.#sources.get(peer)
    if (upload === undefined) return
    const source = this.#world.hostNamed(peer)
    this.#later(this.host.latencyUs + source.latencyUs, () => {
      if (!upload.isOver) act(upload, source)
    })
  }

  #close(peer: string): void {
    const upload = this.#sources.get(peer)
    this.#sources.delete(peer)
    if (upload !== undefined) this.#world.hostNamed(peer).uploads.close(upload)
  }

  #tickLater(): void {
    this.#later(1000 * DOWNLOAD_TICK_MS, () => {
      for (const [peer, upload] of this.#sources) this.#tellProgress(peer, upload)
      this.#dispatch({ kind: 'tick' })
      this.#tickLater()
    })
  }

  #tellProgress(peer: string, upload: Upload): void {
    const bytes = this.#world.flows.takeProgress(upload.flow)
    if (bytes > 0) this.#dispatch({ kind: 'bytes', peer, bytes })
  }

  #later(delayUs: number, run: () => void): void {
    this.#world.kernel.after(delayUs, TAG.message + this.host.tag, () => {
      if (!this.#isOver) run()
    })
  }

  #end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.host.fetches.delete(this.context)
    for (const peer of this.#sources.keys()) this.#close(peer)
  }

  #namesOf(hosts: readonly HostView[]): string[] {
    const { nowMs } = this.#world.kernel
    return hosts
      .filter((host) => host !== this.host && !this.host.bans.has(host.id, nowMs))
      .map(({ id }) => id)
  }
}
