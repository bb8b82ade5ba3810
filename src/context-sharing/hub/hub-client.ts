// Asks a hub for the commit of a revision, its files, and their bytes. Hugging Face's own client
// knows the addresses; this file adds deadlines, bounds, the token and the meaning of failures.
import { downloadFile, listFiles, modelInfo } from '@huggingface/hub'
import type { Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { HearthError, isHearthError } from '../../base/errors.ts'
import { HUB_ANSWER_BYTES_MAX, IMPORT_ENTRIES_MAX } from '../../base/limits.ts'
import { SilenceWatch } from '../../base/waiting/silence-watch.ts'
import { pathFault } from '../content/manifest-path.ts'
import { failureOf, hubFailure, unreachable } from './hub-errors.ts'
import { isCommit, type HubEnvironment, type HubRepo } from './hub-repo.ts'

/** One file of a commit. */
export interface HubFile {
  path: string
  /** Bytes. */
  size: number
  /** sha256 of the bytes, for large files; git's hash of a blob, for small ones. Hex. */
  hash: string
}

const ASK_MS_MAX = 60_000
const SILENCE_MS_MAX = 30_000

export interface HubClientComponents {
  clock: Clock
}

export class HubClient {
  readonly #clock: Clock
  readonly #environment: HubEnvironment
  readonly #repo: HubRepo

  constructor({ clock }: HubClientComponents, environment: HubEnvironment, repo: HubRepo) {
    this.#clock = clock
    this.#environment = environment
    this.#repo = repo
  }

  /** The current commit of the revision. Throws `download-failed`. */
  async commit(signal: AbortSignal | undefined): Promise<string> {
    const { name, revision } = this.#repo
    const { endpoint: hubUrl } = this.#environment
    const info = await this.#ask(`the hub's answer about ${name}@${revision}`, signal, (fetch) =>
      modelInfo({ name, revision, additionalFields: ['sha'], hubUrl, fetch }),
    )
    if (isCommit(info.sha)) return info.sha
    throw hubFailure(`the hub at ${hubUrl} does not say which commit ${revision} is`, { reason: 'refused' })
  }

  /** All files of a commit. Throws `download-failed`, or `limit-reached`. */
  async files(commit: string, signal: AbortSignal | undefined): Promise<HubFile[]> {
    const { name: repo } = this.#repo
    const { endpoint: hubUrl } = this.#environment
    return await this.#ask(`the hub's list of ${repo}'s files`, signal, async (fetch) => {
      const files: HubFile[] = []
      for await (const entry of listFiles({ repo, revision: commit, recursive: true, hubUrl, fetch })) {
        if (files.length >= IMPORT_ENTRIES_MAX)
          throw tooMuch(`${repo} has more than ${IMPORT_ENTRIES_MAX} files, which is the limit`)
        if (entry.type === 'file') files.push(readEntry(entry, hubUrl))
      }
      return files
    })
  }

  /**
   * The bytes of a file from `offset` on. Throws `download-failed` (`no-range` when the hub would send
   * the whole file instead) or `deadline-passed` when nothing comes for 30 s.
   */
  async *bytes(
    commit: string,
    { path, size, hash }: HubFile,
    offset: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array> {
    const { name: repo } = this.#repo
    const { endpoint } = this.#environment
    const never = new AbortController().signal
    const watch = new SilenceWatch(this.#clock, SILENCE_MS_MAX, `the hub at ${endpoint}`, {
      signal: signal ?? never,
    })
    // The client passes on only the message of the error that its fetch threw.
    let failure: unknown
    const fetch: typeof globalThis.fetch = async (input, init) => {
      try {
        return await this.#fetch(input, init, watch.signal)
      } catch (error) {
        failure = error
        throw error
      }
    }
    const url = `${endpoint}/${repo}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`
    try {
      const whole = await downloadFile({
        repo,
        path,
        revision: commit,
        hubUrl: endpoint,
        fetch,
        xet: false,
        downloadInfo: { size, etag: hash, url },
      })
      if (whole === null) throw hubFailure(`${repo} has no file ${path}`, { reason: 'not-found' })
      yield* watch.listen(whole.slice(offset, size).stream() as AsyncIterable<Uint8Array>, size - offset)
    } catch (error) {
      throw this.#explain(failure ?? error, watch.signal)
    } finally {
      watch.end()
    }
  }

  async #ask<T>(
    what: string,
    signal: AbortSignal | undefined,
    work: (fetch: typeof globalThis.fetch) => Promise<T>,
  ): Promise<T> {
    try {
      return await withDeadline({ clock: this.#clock, ms: ASK_MS_MAX, whose: what, signal }, (inner) =>
        work(async (input, init) => boundBody(await this.#fetch(input, init, inner))),
      )
    } catch (error) {
      throw this.#explain(error, signal)
    }
  }

  /** Adds the signal and the token, and throws on a failure status. Fetch drops the token at a redirect to another server. */
  async #fetch(
    input: Parameters<typeof fetch>[0],
    init: RequestInit | undefined,
    signal: AbortSignal,
  ): Promise<Response> {
    const { token, endpoint } = this.#environment
    const headers = new Headers(init?.headers)
    const url = new URL(input instanceof Request ? input.url : input)
    if (token !== undefined && url.origin === new URL(endpoint).origin) {
      headers.set('authorization', `Bearer ${token}`)
    }
    const response = await fetch(url, { ...init, headers, signal })
    const range = headers.get('range')
    if (response.ok && (range === null || sendsRange(response, range))) return response
    await response.body?.cancel()
    if (response.ok || response.status === 416) {
      throw hubFailure(`the hub at ${endpoint} does not send parts of files`, { reason: 'no-range' })
    }
    throw failureOf(response, this.#repo, this.#environment, this.#clock.wallMs())
  }

  #explain(error: unknown, signal: AbortSignal | undefined): unknown {
    if (isHearthError(error)) return error
    if (signal?.aborted === true) return signal.reason
    return unreachable(error, this.#environment.endpoint)
  }
}

function sendsRange(response: Response, range: string): boolean {
  const asked = /^bytes=(\d+)-/.exec(range)?.[1]
  const sent = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1]
  return response.status === 206 && asked === sent
}

/** The response with at most HUB_ANSWER_BYTES_MAX of body. */
function boundBody(response: Response): Response {
  if (response.body === null) return response
  let bytes = 0
  const counter = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      bytes += chunk.byteLength
      if (bytes > HUB_ANSWER_BYTES_MAX)
        controller.error(tooMuch(`the hub sent more than ${HUB_ANSWER_BYTES_MAX} bytes, which is the limit`))
      else controller.enqueue(chunk)
    },
  })
  return new Response(response.body.pipeThrough(counter), {
    status: response.status,
    headers: response.headers,
  })
}

interface Entry {
  path: string
  size: number
  oid?: string | undefined
  lfs?: { oid: string; size: number } | undefined
}

/** Checks the hub's list, because its paths become paths on this disk. */
function readEntry({ path, size, oid, lfs }: Entry, hubUrl: string): HubFile {
  const file = { path, size: lfs?.size ?? size, hash: lfs?.oid ?? oid ?? '' }
  const isWhole =
    typeof path === 'string' &&
    Number.isSafeInteger(file.size) &&
    file.size >= 0 &&
    (lfs === undefined ? /^[0-9a-f]{40}$/ : /^[0-9a-f]{64}$/).test(file.hash)
  const fault = isWhole ? pathFault(path) : 'has no size or no hash'
  if (fault === undefined) return file
  throw hubFailure(`the hub at ${hubUrl} lists ${JSON.stringify(path)}, which ${fault}`, {
    reason: 'refused',
  })
}

function tooMuch(message: string): HearthError {
  return new HearthError('limit-reached', message)
}
