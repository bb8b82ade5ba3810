import { UPLOADS_ACTIVE_MAX, UPLOAD_SESSIONS_MAX } from '../../../src/base/limits.ts'
import type { Random } from '../../../src/base/random.ts'
import { Bitfield } from '../../../src/context-sharing/content/bitfield.ts'
import { introduce, someOthers } from '../../../src/context-sharing/upload/core/introductions.ts'
import {
  newUploadBudget,
  stepUpload,
  type UploadEffect,
  type UploadEvent,
} from '../../../src/context-sharing/upload/core/upload-budget.ts'
import type { EventHandle, Kernel } from '../../kernel/kernel.ts'
import type { FairFlows } from '../../network/fair-flows.ts'
import type { Fetcher, HostView, Upload, Uploader } from './host-view.ts'
import { Releases } from './releases.ts'
import { TAG } from '../events/tags.ts'

/**
 * The uploads of one host. core/upload-budget says whose chunk is next, core/release which chunks each peer
 * is shown. Acts as context-sharing/upload-server.ts does.
 */
export class Uploads implements Uploader {
  readonly #kernel: Kernel
  readonly #flows: FairFlows
  readonly #host: HostView
  readonly #budget = newUploadBudget(UPLOADS_ACTIVE_MAX)
  readonly #random: Random
  readonly #releases: Releases
  /** Sessions by context. */
  readonly #sessions = new Map<number, Set<Upload>>()
  #count = 0
  /** Sessions whose next chunk waits for its turn, and the turn that each has, or waits for. */
  readonly #waiting = new Map<number, Upload>()
  readonly #turns = new Map<Upload, number>()
  #nextTurn = 1
  #wake: EventHandle | undefined
  /** Peers that take over what only this one has, which is leaving. */
  readonly #handedOver = new Set<string>()
  bytesSent = 0

  /** `capBytesPerS`: what the owner lets it send; undefined: all that the line carries. */
  constructor(
    kernel: Kernel,
    flows: FairFlows,
    host: HostView,
    { random, capBytesPerS }: { random: Random; capBytesPerS: number | undefined },
  ) {
    this.#kernel = kernel
    this.#flows = flows
    this.#host = host
    this.#random = random
    this.#releases = new Releases(kernel, host.tag, random, (upload, chunks) => this.#tell(upload, chunks))
    if (capBytesPerS !== undefined) this.#step({ kind: 'cap', bytesPerSecond: capBytesPerS })
  }

  /** Undefined when all sessions are taken; else what the fetcher is shown to be here. */
  open(fetch: Fetcher): { upload: Upload; has: Bitfield } | undefined {
    if (this.#count >= UPLOAD_SESSIONS_MAX) return undefined
    const flow = this.#flows.open(this.#host.node, fetch.host.node)
    const upload: Upload = { fetch, flow, requested: new Set(), isSending: false, isOver: false }
    const others = this.#sessions.get(fetch.context) ?? new Set()
    this.#sessions.set(fetch.context, others)
    this.#introduce(upload, others)
    others.add(upload)
    this.#count += 1
    const chunks = this.#host.shelf(fetch.context)?.chunks ?? new Bitfield(0)
    return { upload, has: chunks.isFull ? this.#releases.begin(upload, chunks.size) : chunks }
  }

  close(upload: Upload): void {
    if (upload.isOver) return
    upload.isOver = true
    this.#sessions.get(upload.fetch.context)?.delete(upload)
    this.#count -= 1
    this.#releases.end(upload)
    const bytes = this.#flows.close(upload.flow)
    this.bytesSent += bytes
    upload.fetch.countWasted(this.#host, bytes)
    upload.requested.clear()
    const turn = this.#turns.get(upload)
    if (turn === undefined) return
    this.#turns.delete(upload)
    this.#step({ kind: this.#waiting.delete(turn) ? 'withdraw' : 'done', id: turn })
  }

  /** The network is cut: what goes to hosts on another side stops, and they have to find that out. */
  cutOff(): void {
    for (const upload of this.#open()) if (upload.fetch.host.side !== this.#host.side) this.close(upload)
  }

  closeAll(): Upload[] {
    this.#handedOver.clear()
    const open = this.#open()
    for (const upload of open) this.close(upload)
    return open
  }

  #open(): Upload[] {
    return [...this.#sessions.values()].flatMap((uploads) => [...uploads])
  }

  request(upload: Upload, chunks: readonly number[]): void {
    const shelf = this.#host.shelf(upload.fetch.context)
    const missing = chunks.filter((chunk) => shelf?.chunks.has(chunk) !== true)
    if (missing.length > 0) upload.fetch.hearRefusal(this.#host, missing)
    for (const chunk of chunks) if (shelf?.chunks.has(chunk) === true) upload.requested.add(chunk)
    this.#releases.asked(upload, chunks)
    this.#pump(upload)
  }

  cancel(upload: Upload, chunks: readonly number[]): void {
    for (const chunk of chunks) upload.requested.delete(chunk)
    this.#releases.cancelled(upload, chunks)
  }

  /** A chunk came to be here: whoever fetches from here may ask for it now. */
  tellHeld(context: number, chunk: number): void {
    for (const upload of this.#sessions.get(context) ?? []) this.#tell(upload, [chunk])
  }

  /** The fetcher says what it holds. */
  hearHeld(upload: Upload, chunks: Iterable<number>): void {
    this.#releases.held(upload, chunks)
  }

  wantsToHear(upload: Upload): boolean {
    return this.#releases.isOpen(upload)
  }

  handOverTo(host: string): void {
    this.#handedOver.add(host)
  }

  fetchers(context: number): HostView[] {
    return [...(this.#sessions.get(context) ?? [])].map(({ fetch }) => fetch.host)
  }

  /** Fetchers of a context, but for one. */
  others(context: number, but: HostView): HostView[] {
    return someOthers(this.#random, but, this.fetchers(context))
  }

  #introduce(upload: Upload, others: Iterable<Upload>): void {
    for (const { to, others: named } of introduce(this.#random, upload, [...others]))
      this.#later(to, () => to.fetch.hearOf(named.map(({ fetch }) => fetch.host)))
  }

  #tell(upload: Upload, chunks: number[]): void {
    this.#later(upload, () => upload.fetch.hearHas(this.#host, chunks))
  }

  #later(upload: Upload, run: () => void): void {
    const { host } = upload.fetch
    this.#kernel.after(this.#host.latencyUs + host.latencyUs, TAG.message + host.tag, () => {
      if (!upload.isOver) run()
    })
  }

  /** Waits for the turn of the next chunk. */
  #pump(upload: Upload): void {
    const [chunk] = upload.requested
    if (upload.isSending || upload.isOver || chunk === undefined) return
    upload.isSending = true
    const id = this.#nextTurn++
    this.#waiting.set(id, upload)
    this.#turns.set(upload, id)
    const bytes = upload.fetch.bytesOf(chunk)
    const { host, uploadClass: asked } = upload.fetch
    const uploadClass = this.#handedOver.has(host.id) ? 'drain' : asked
    this.#step({ kind: 'ask', id, peer: host.id, uploadClass, bytes })
  }

  #step(event: UploadEvent): void {
    for (const effect of stepUpload(this.#budget, event, this.#kernel.nowMs)) this.#perform(effect)
  }

  #perform(effect: UploadEffect): void {
    switch (effect.kind) {
      case 'grant':
        return this.#onTurn(effect.id)
      case 'refuse':
        return this.#onRefused(effect.id, effect.retryMs)
      case 'wake':
        if (this.#wake !== undefined) this.#kernel.cancel(this.#wake)
        this.#wake = this.#kernel.after(effect.afterMs * 1000, TAG.message + this.#host.tag, () => {
          this.#wake = undefined
          this.#step({ kind: 'tick' })
        })
    }
  }

  #onTurn(id: number): void {
    const upload = this.#waiting.get(id)
    if (upload === undefined) return
    this.#waiting.delete(id)
    const [chunk] = upload.requested
    if (chunk !== undefined) return this.#send(upload, chunk, id)
    // Cancelled during the wait.
    this.#turns.delete(upload)
    upload.isSending = false
    this.#step({ kind: 'refund', id })
  }

  #send(upload: Upload, chunk: number, id: number): void {
    upload.requested.delete(chunk)
    const bytes = upload.fetch.bytesOf(chunk)
    this.#flows.send(upload.flow, bytes, () => {
      this.bytesSent += bytes
      upload.isSending = false
      this.#turns.delete(upload)
      this.#releases.sent(upload, chunk)
      this.#step({ kind: 'done', id })
      upload.fetch.receive(this.#host, chunk)
      this.#pump(upload)
    })
  }

  #onRefused(id: number, retryMs: number): void {
    const upload = this.#waiting.get(id)
    if (upload === undefined) return
    this.#waiting.delete(id)
    this.#turns.delete(upload)
    const chunks = [...upload.requested]
    upload.requested.clear()
    upload.isSending = false
    const others = this.others(upload.fetch.context, upload.fetch.host)
    this.#later(upload, () => upload.fetch.hearBusy(this.#host, chunks, retryMs, others))
  }
}
