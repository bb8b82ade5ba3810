import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface HubCall {
  /** The hub itself, or the store of another origin that large files are redirected to. */
  where: 'hub' | 'store'
  path: string
  authorization: string | undefined
  range: string | undefined
}

/** Answers instead of the server. */
export type HubAnswer = (response: ServerResponse, call: HubCall) => void

export interface HubServerOptions {
  name: string
  files: Record<string, string | Buffer>
  /** Files a page of the list holds. Default 2. */
  pageFiles?: number
  /** Whether parts of files are sent. Default true. */
  hasRanges?: boolean
  /** How fast each file is sent. Default: as fast as it goes. */
  bytesPerSecond?: number
}

interface Fault {
  path: RegExp
  times: number
  answer: HubAnswer
}

/** Files over this are large: their hash is a sha256, and they come from the store. */
const LARGE_BYTES = 100
const SLICE_EVERY_MS = 20

export const HUB_COMMIT: string = 'c'.repeat(40)

/** A local server that speaks as much of Hugging Face's hub as a download needs. */
export class HubServer {
  readonly calls: HubCall[] = []
  /** Bytes of files that it has sent, also to those that went away. */
  bytesSent = 0
  readonly options: HubServerOptions
  /** The bytes sent in place of a file, whatever its entry in the list. */
  readonly replaced: Map<string, Buffer> = new Map()
  readonly #faults: Fault[] = []
  readonly #hashes = new WeakMap<Buffer, string>()
  /** Its address, as HF_ENDPOINT wants it. */
  url = ''
  #storeUrl = ''
  readonly #hub: Server = createServer((request, response) => this.#answer('hub', request, response))
  readonly #store: Server = createServer((request, response) => this.#answer('store', request, response))

  constructor(options: HubServerOptions) {
    this.options = options
  }

  async start(): Promise<this> {
    for (const server of [this.#hub, this.#store]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    }
    this.url = originOf(this.#hub)
    this.#storeUrl = originOf(this.#store)
    return this
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#store]) {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }

  /** The next `times` requests whose path matches get `answer`. */
  failing(path: RegExp, answer: HubAnswer, times = 1): void {
    this.#faults.push({ path, times, answer })
  }

  callsTo(path: RegExp): HubCall[] {
    return this.calls.filter((call) => path.test(call.path))
  }

  bytesOf(path: string): Buffer {
    const file = this.options.files[path] ?? ''
    return typeof file === 'string' ? Buffer.from(file) : file
  }

  /** As the hub names it: sha256, or git's hash of a blob. */
  hashOf(path: string): string {
    const bytes = this.bytesOf(path)
    if (isLarge(bytes)) return this.#sha256Of(bytes)
    return createHash('sha1').update(`blob ${bytes.byteLength}\0`).update(bytes).digest('hex')
  }

  #sha256Of(bytes: Buffer): string {
    const known = this.#hashes.get(bytes) ?? createHash('sha256').update(bytes).digest('hex')
    this.#hashes.set(bytes, known)
    return known
  }

  #answer(where: HubCall['where'], request: IncomingMessage, response: ServerResponse): void {
    const { authorization, range } = request.headers
    const path = decodeURIComponent(request.url ?? '')
    const call: HubCall = { where, path, authorization, range }
    this.calls.push(call)
    const fault = this.#faults.find(({ path: wanted, times }) => times > 0 && wanted.test(path))
    if (fault !== undefined) {
      fault.times -= 1
      fault.answer(response, call)
    } else if (where === 'store') this.#sendFile(path.slice(1), call, response)
    else this.#answerHub(call, response)
  }

  #answerHub(call: HubCall, response: ServerResponse): void {
    const { name } = this.options
    const url = new URL(call.path, this.url)
    const info = `/api/models/${name}/revision/`
    const tree = `/api/models/${name}/tree/${HUB_COMMIT}`
    const resolve = `/${name}/resolve/${HUB_COMMIT}/`
    if (url.pathname.startsWith(info)) {
      if (['main', HUB_COMMIT, 'refs/pr/1'].includes(url.pathname.slice(info.length)))
        this.#sendInfo(response)
      else sendError(response, 404, 'RevisionNotFound')
    } else if (url.pathname === tree) this.#sendPage(url, response)
    else if (url.pathname.startsWith(resolve))
      this.#resolve(url.pathname.slice(resolve.length), call, response)
    else sendError(response, 401, undefined)
  }

  #sendInfo(response: ServerResponse): void {
    const { name } = this.options
    const info = { _id: '1', id: name, private: false, gated: false, downloads: 0, likes: 0 }
    sendJson(response, { ...info, lastModified: '2026-01-01T00:00:00.000Z', sha: HUB_COMMIT })
  }

  #sendPage(url: URL, response: ServerResponse): void {
    const { files, pageFiles = 2 } = this.options
    const from = Number(url.searchParams.get('cursor') ?? 0)
    const paths = Object.keys(files)
    const entries = paths.slice(from, from + pageFiles).map((path) => this.#entryOf(path))
    if (from + pageFiles < paths.length) {
      url.searchParams.set('cursor', String(from + pageFiles))
      response.setHeader('link', `<${url.href}>; rel="next"`)
    }
    sendJson(response, entries)
  }

  #entryOf(path: string): object {
    const bytes = this.bytesOf(path)
    const size = bytes.byteLength
    if (!isLarge(bytes)) return { type: 'file', path, size, oid: this.hashOf(path) }
    return {
      type: 'file',
      path,
      size,
      oid: 'e'.repeat(40),
      lfs: { oid: this.hashOf(path), size, pointerSize: 134 },
    }
  }

  #resolve(path: string, call: HubCall, response: ServerResponse): void {
    if (!(path in this.options.files)) return sendError(response, 404, 'EntryNotFound')
    if (!isLarge(this.bytesOf(path))) return this.#sendFile(path, call, response)
    response.writeHead(302, {
      location: `${this.#storeUrl}/${encodeURIComponent(path)}`,
      'x-linked-etag': `"${this.hashOf(path)}"`,
      'x-linked-size': this.bytesOf(path).byteLength,
    })
    return void response.end()
  }

  #sendFile(path: string, { range }: HubCall, response: ServerResponse): void {
    const bytes = this.replaced.get(path) ?? this.bytesOf(path)
    const from = Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0)
    if (range === undefined || this.options.hasRanges === false) {
      response.writeHead(200, { 'content-length': bytes.byteLength, etag: `"${this.hashOf(path)}"` })
      return this.#send(response, bytes)
    }
    response.writeHead(206, {
      'content-length': bytes.byteLength - from,
      'content-range': `bytes ${from}-${bytes.byteLength - 1}/${bytes.byteLength}`,
      etag: `"${this.hashOf(path)}"`,
    })
    this.#send(response, bytes.subarray(from))
  }

  #send(response: ServerResponse, bytes: Buffer): void {
    const { bytesPerSecond } = this.options
    const slice =
      bytesPerSecond === undefined ? bytes.byteLength : Math.ceil((bytesPerSecond * SLICE_EVERY_MS) / 1_000)
    const sendFrom = (from: number): void => {
      if (response.destroyed) return
      const part = bytes.subarray(from, from + slice)
      this.bytesSent += part.byteLength
      if (from + part.byteLength >= bytes.byteLength) return void response.end(part)
      response.write(part)
      setTimeout(sendFrom, SLICE_EVERY_MS, from + part.byteLength)
    }
    sendFrom(0)
  }
}

export function sendError(response: ServerResponse, statusCode: number, code?: string, headers = {}): void {
  response.writeHead(statusCode, { ...(code === undefined ? {} : { 'x-error-code': code }), ...headers })
  response.end()
}

/** The first `bytes` of a file, and then: the connection is cut, or nothing more comes. */
export function sendPart(file: Buffer, bytes: number, then: 'cut' | 'silence'): HubAnswer {
  return (response) => {
    response.writeHead(200, { 'content-length': file.byteLength })
    response.write(file.subarray(0, bytes), () => {
      if (then === 'cut') response.destroy()
    })
  }
}

function sendJson(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

function isLarge(bytes: Buffer): boolean {
  return bytes.byteLength > LARGE_BYTES
}

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
