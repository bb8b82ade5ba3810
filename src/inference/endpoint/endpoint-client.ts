// Sends one request to an OpenAI-compatible server and waits for its whole answer, streamed so that a
// server that hangs or hangs up is noticed.
import { sleep, type Clock } from '../../base/clock.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import { ENDPOINT_ANSWER_BYTES_MAX, ENDPOINT_REFUSAL_BYTES_MAX } from '../../base/limits.ts'
import type { Random } from '../../base/random.ts'
import { readRetryAfter } from '../../base/waiting/retry-after.ts'
import { AnswerAssembly } from './assembly.ts'
import { ANSWER_MS_MAX_DEFAULT, SILENCE_MS_MAX_DEFAULT, type EndpointOptions } from './endpoint-options.ts'
import { busyWaitMs, isBusy, isOwnFault } from './retry-policy.ts'
import { SilenceWatch } from '../../base/waiting/silence-watch.ts'
import { eventData } from './sse.ts'

/** Longest passed-on part of an endpoint's message, characters. */
const WORDS_MAX = 500
const MODELS_MS_MAX = 10_000

export interface EndpointClientComponents {
  clock: Clock
  random: Random
}

export type EndpointAnswer =
  | { kind: 'answered'; body: Record<string, unknown> }
  /** The request itself is invalid: every endpoint would refuse it. */
  | { kind: 'refused'; statusCode: number; message: string }

/** An endpoint's description of its model. */
export interface EndpointModel {
  id: string
  /** Prompt and completion together, tokens; vLLM says so. */
  contextLengthMax: number | undefined
}

type Reply = EndpointAnswer | { kind: 'busy'; statusCode: number; retryAfterMs: number | undefined }

interface Sending {
  method: 'GET' | 'POST'
  path: string
  body?: Record<string, unknown>
  /** Called when the endpoint sends something, and when it is asked again. */
  onHeard?: (() => void) | undefined
}

export class EndpointClient {
  readonly #components: EndpointClientComponents
  readonly #options: EndpointOptions

  constructor(components: EndpointClientComponents, options: EndpointOptions) {
    this.#components = components
    this.#options = options
  }

  /**
   * Asks for a completion; while the endpoint is busy (429, 503) it is asked again, after the time that
   * it names. Throws `engine-failed` when the endpoint cannot be reached, fails, hangs, hangs up or
   * sends what is no answer; or the signal's reason.
   * `onHeard` is called whenever the endpoint gives a sign of life.
   * @param path below the base URL, as /chat/completions
   */
  async ask(
    path: string,
    body: Record<string, unknown>,
    { signal, onHeard }: { signal?: AbortSignal | undefined; onHeard?: (() => void) | undefined } = {},
  ): Promise<EndpointAnswer> {
    const { clock } = this.#components
    const ms = this.#options.answerMsMax ?? ANSWER_MS_MAX_DEFAULT
    try {
      return await withDeadline({ clock, ms, whose: "the endpoint's answer", signal }, (inner) =>
        this.#askUntilAnswered({ method: 'POST', path, body, onHeard }, inner),
      )
    } catch (error) {
      if (signal?.aborted === true) throw signal.reason
      throw this.#failure(error)
    }
  }

  /** The models that the endpoint lists; empty when it lists none. Throws `engine-failed`. */
  async models(signal?: AbortSignal): Promise<EndpointModel[]> {
    const { clock } = this.#components
    const whose = "the endpoint's list of models"
    try {
      return await withDeadline({ clock, ms: MODELS_MS_MAX, whose, signal }, async (inner) => {
        const reply = await this.#send({ method: 'GET', path: '/models' }, inner)
        return reply.kind === 'answered' ? readModels(reply.body) : []
      })
    } catch (error) {
      if (signal?.aborted === true) throw signal.reason
      if (isHearthError(error, 'engine-failed') && error.data['statusCode'] === 404) return []
      throw this.#failure(error)
    }
  }

  /**
   * The endpoint's description of the model; undefined when it lists no models. Throws `model-unsupported` when it
   * lists only others, and `engine-failed` when it does not answer.
   */
  async requireModel(signal?: AbortSignal): Promise<EndpointModel | undefined> {
    const { model } = this.#options
    const models = await this.models(signal)
    const found = models.find(({ id }) => id === model || id === `${model}:latest`)
    if (found !== undefined || models.length === 0) return found
    const names = models.slice(0, 8).map(({ id }) => id)
    const more = models.length > names.length ? ` and ${models.length - names.length} more` : ''
    throw new HearthError(
      'model-unsupported',
      `the endpoint does not serve ${model}. It serves ${names.join(', ')}${more}: choose one of them`,
    )
  }

  async #askUntilAnswered(sending: Sending, signal: AbortSignal): Promise<EndpointAnswer> {
    const { clock, random } = this.#components
    for (let retries = 0; ; retries += 1) {
      const reply = await this.#send(sending, signal)
      if (reply.kind !== 'busy') return reply
      const waitMs = busyWaitMs(retries, reply.retryAfterMs, random)
      if (waitMs === undefined) {
        throw failed(
          `the endpoint is busy: it answered ${retries + 1} requests with status ${reply.statusCode}`,
        )
      }
      await sleep(clock, waitMs, signal)
    }
  }

  async #send({ method, path, body, onHeard }: Sending, signal: AbortSignal): Promise<Reply> {
    const { url, apiKey, silenceMsMax = SILENCE_MS_MAX_DEFAULT } = this.#options
    const watch = new SilenceWatch(this.#components.clock, silenceMsMax, 'the endpoint', { signal, onHeard })
    try {
      const response = await fetch(`${url.replace(/\/+$/, '')}${path}`, {
        method,
        headers: {
          'content-type': 'application/json',
          accept: body?.['stream'] === true ? 'text/event-stream, application/json' : 'application/json',
          ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
        },
        body: body === undefined ? null : JSON.stringify(body),
        // Send the key only to the server that the owner named.
        redirect: 'error',
        signal: watch.signal,
      })
      watch.heard()
      return await this.#read(response, path, watch)
    } finally {
      watch.end()
    }
  }

  async #read(response: Response, path: string, watch: SilenceWatch): Promise<Reply> {
    const { status, headers } = response
    if (isBusy(status)) {
      await response.body?.cancel()
      const retryAfterMs = readRetryAfter(headers.get('retry-after'), this.#components.clock.wallMs())
      return { kind: 'busy', statusCode: status, retryAfterMs }
    }
    if (!response.ok) return await this.#readRefusal(response, watch)
    const bytes = watch.listen(response.body ?? none(), ENDPOINT_ANSWER_BYTES_MAX)
    if (headers.get('content-type')?.includes('text/event-stream') === true) {
      return await this.#readStream(bytes, path === '/chat/completions')
    }
    return { kind: 'answered', body: parseObject(await textOf(bytes)) }
  }

  async #readStream(bytes: AsyncIterable<Uint8Array>, isChat: boolean): Promise<EndpointAnswer> {
    const assembly = new AnswerAssembly(isChat)
    for await (const data of eventData(bytes)) {
      if (data === '[DONE]') break
      assembly.add(data)
      if (assembly.error === undefined) continue
      const { statusCode = 500, message } = assembly.error
      return this.#refusal(statusCode, message)
    }
    return { kind: 'answered', body: assembly.finish() }
  }

  async #readRefusal(response: Response, watch: SilenceWatch): Promise<EndpointAnswer> {
    const text = await textOf(watch.listen(response.body ?? none(), ENDPOINT_REFUSAL_BYTES_MAX))
    return this.#refusal(response.status, refusalWords(text))
  }

  /** Tells an error of the request from one of the endpoint. Messages about a key are not passed on. */
  #refusal(statusCode: number, words: string): EndpointAnswer {
    const message = this.#withoutKey(words).slice(0, WORDS_MAX)
    if (isOwnFault(statusCode)) return { kind: 'refused', statusCode, message }
    const isAboutKey = statusCode === 401 || statusCode === 403
    throw failed(
      isAboutKey
        ? `the endpoint refuses its API key (status ${statusCode}): the owner of this peer must correct --api-key-file`
        : `the endpoint failed (status ${statusCode}): ${message}`,
      { statusCode },
    )
  }

  #withoutKey(words: string): string {
    const { apiKey } = this.#options
    return apiKey === undefined ? words : words.replaceAll(apiKey, '…')
  }

  /** Turns any error into this engine's failure. The endpoint's address is left out, because peers read this. */
  #failure(error: unknown): HearthError {
    if (isHearthError(error, 'engine-failed')) return error
    const why = isHearthError(error)
      ? error.message
      : `cannot reach the endpoint (${causeOf(error)}): check that its server runs`
    return failed(this.#withoutKey(why), undefined, error)
  }
}

function failed(message: string, data?: Record<string, unknown>, cause?: unknown): HearthError {
  return new HearthError('engine-failed', message, { ...(data === undefined ? {} : { data }), cause })
}

/** fetch says "fetch failed" and puts the reason into the cause; its message would name the address. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  const code = (cause as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : messageOf(cause)
}

async function textOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const chunk of chunks) parts.push(chunk)
  return Buffer.concat(parts).toString('utf8')
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // Reported below: this is not an answer.
  }
  throw failed('the endpoint sent an answer that is not a JSON object')
}

/** OpenAI's {"error":{"message"}}, vLLM's {"message"}, Ollama's {"error":"…"}, or what there is. */
function refusalWords(text: string): string {
  try {
    const { error, message, detail } = JSON.parse(text) as Record<string, unknown>
    const inner = (error as { message?: unknown } | null | undefined)?.message ?? error ?? message ?? detail
    return typeof inner === 'string' ? inner : text
  } catch {
    return text
  }
}

function readModels({ data }: Record<string, unknown>): EndpointModel[] {
  if (!Array.isArray(data)) return []
  return (data as ({ id?: unknown; max_model_len?: unknown } | null)[]).flatMap((model) =>
    typeof model?.id === 'string'
      ? [
          {
            id: model.id,
            contextLengthMax: typeof model.max_model_len === 'number' ? model.max_model_len : undefined,
          },
        ]
      : [],
  )
}

async function* none(): AsyncGenerator<Uint8Array> {}
