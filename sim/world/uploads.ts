import { PEERS_TOLD_MAX, UPLOADS_ACTIVE_MAX, UPLOAD_SESSIONS_MAX } from '../../src/base/limits.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { FairFlows } from '../network/fair-flows.ts'
import type { Fetcher, HostView, Upload, Uploader } from './host-view.ts'
import { TAG } from './tags.ts'

/** How long a request waits for a slot before the fetcher is told to ask elsewhere; as upload-session.ts. */
const SLOT_WAIT_US = 2_000_000
const BUSY_RETRY_MS = 1000

/** What one host serves to others: chunk after chunk to each, to so many at once. Acts as upload-server.ts does. */
export class Uploads implements Uploader {
  readonly #kernel: Kernel
  readonly #flows: FairFlows
  readonly #host: HostView
  /** Sessions by context. */
  readonly #sessions = new Map<number, Set<Upload>>()
  #count = 0
  #slots = UPLOADS_ACTIVE_MAX
  #waiting: { upload: Upload; sinceUs: number }[] = []
  bytesSent = 0

  constructor(kernel: Kernel, flows: FairFlows, host: HostView) {
    this.#kernel = kernel
    this.#flows = flows
    this.#host = host
  }

  /** Undefined when all sessions are taken. */
  open(fetch: Fetcher): Upload | undefined {
    if (this.#count >= UPLOAD_SESSIONS_MAX) return undefined
    const flow = this.#flows.open(this.#host.node, fetch.host.node)
    const upload: Upload = { fetch, flow, requested: new Set(), isSending: false, isOver: false }
    const others = this.#sessions.get(fetch.context) ?? new Set()
    this.#sessions.set(fetch.context, others)
    this.#introduce(upload, others)
    others.add(upload)
    this.#count += 1
    return upload
  }

  close(upload: Upload): void {
    if (upload.isOver) return
    upload.isOver = true
    this.#sessions.get(upload.fetch.context)?.delete(upload)
    this.#count -= 1
    const bytes = this.#flows.close(upload.flow)
    this.bytesSent += bytes
    upload.fetch.countWasted(this.#host, bytes)
    upload.requested.clear()
    if (upload.isSending) this.#release()
  }

  closeAll(): Upload[] {
    const open = [...this.#sessions.values()].flatMap((uploads) => [...uploads])
    for (const upload of open) this.close(upload)
    return open
  }

  request(upload: Upload, chunks: readonly number[]): void {
    const shelf = this.#host.shelf(upload.fetch.context)
    const missing = chunks.filter((chunk) => shelf?.chunks.has(chunk) !== true)
    if (missing.length > 0) upload.fetch.hearRefusal(this.#host, missing)
    for (const chunk of chunks) if (shelf?.chunks.has(chunk) === true) upload.requested.add(chunk)
    this.#pump(upload)
  }

  cancel(upload: Upload, chunks: readonly number[]): void {
    for (const chunk of chunks) upload.requested.delete(chunk)
  }

  /** A chunk came to be here: whoever fetches from here may ask for it now. */
  tellHeld(context: number, chunk: number): void {
    for (const upload of this.#sessions.get(context) ?? []) {
      this.#later(upload, () => upload.fetch.hearHas(this.#host, [chunk]))
    }
  }

  fetchers(context: number): HostView[] {
    return [...(this.#sessions.get(context) ?? [])].map(({ fetch }) => fetch.host)
  }

  /** Fetchers of a context, but for one. */
  others(context: number, but: HostView): HostView[] {
    const hosts = this.fetchers(context)
    return hosts.filter((host) => host !== but).slice(0, PEERS_TOLD_MAX)
  }

  #introduce(upload: Upload, others: Iterable<Upload>): void {
    const told = [...others].slice(0, PEERS_TOLD_MAX)
    this.#later(upload, () => upload.fetch.hearOf(told.map(({ fetch }) => fetch.host)))
    for (const other of others) this.#later(other, () => other.fetch.hearOf([upload.fetch.host]))
  }

  #later(upload: Upload, run: () => void): void {
    const { host } = upload.fetch
    this.#kernel.after(this.#host.latencyUs + host.latencyUs, TAG.message + host.tag, () => {
      if (!upload.isOver) run()
    })
  }

  #pump(upload: Upload): void {
    if (upload.isSending || upload.isOver || upload.requested.size === 0) return
    upload.isSending = true
    if (this.#slots > 0) {
      this.#slots -= 1
      this.#send(upload)
      return
    }
    this.#waiting.push({ upload, sinceUs: this.#kernel.nowUs })
    if (this.#waiting.length === 1) this.#expireLater()
  }

  #send(upload: Upload): void {
    const [chunk] = upload.requested
    if (chunk === undefined) {
      upload.isSending = false
      return this.#release()
    }
    upload.requested.delete(chunk)
    const bytes = upload.fetch.bytesOf(chunk)
    this.#flows.send(upload.flow, bytes, () => {
      this.bytesSent += bytes
      upload.isSending = false
      this.#release()
      upload.fetch.receive(this.#host, chunk)
      this.#pump(upload)
    })
  }

  #release(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (!next.upload.isOver) return this.#send(next.upload)
    }
    this.#slots += 1
  }

  #expireLater(): void {
    const [first] = this.#waiting
    if (first === undefined) return
    this.#kernel.at(first.sinceUs + SLOT_WAIT_US, TAG.message + this.#host.tag, () => {
      const { nowUs } = this.#kernel
      while (this.#waiting[0] !== undefined && nowUs - this.#waiting[0].sinceUs >= SLOT_WAIT_US) {
        const { upload } = this.#waiting.shift() as { upload: Upload }
        if (!upload.isOver) this.#sayBusy(upload)
      }
      this.#expireLater()
    })
  }

  #sayBusy(upload: Upload): void {
    const chunks = [...upload.requested]
    upload.requested.clear()
    upload.isSending = false
    const others = this.others(upload.fetch.context, upload.fetch.host)
    this.#later(upload, () => upload.fetch.hearBusy(this.#host, chunks, BUSY_RETRY_MS, others))
  }
}
