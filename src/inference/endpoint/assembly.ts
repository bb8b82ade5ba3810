// Assembles the chunks of a streamed answer into the body that the same request would have got
// without streaming.
import { z } from 'zod'
import { HearthError } from '../../base/errors.ts'
import { ENDPOINT_CHOICES_MAX } from '../../base/limits.ts'

type Fields = Record<string, unknown>

/** An error inside the stream, after the status was sent. */
export interface StreamedError {
  /** The HTTP status, if the endpoint names one. */
  statusCode: number | undefined
  message: string
}

const CHOICE = z.looseObject({
  index: z.int().min(0).max(ENDPOINT_CHOICES_MAX).optional(),
  delta: z.record(z.string(), z.unknown()).nullish(),
  text: z.string().nullish(),
  finish_reason: z.string().nullish(),
  logprobs: z.record(z.string(), z.unknown()).nullish(),
})

const CHUNK = z.looseObject({
  choices: z.array(CHOICE).nullish(),
  usage: z.record(z.string(), z.unknown()).nullish(),
  error: z.unknown().optional(),
})

type Choice = z.infer<typeof CHOICE>

interface Draft {
  content: Fields
  logprobs: Fields | undefined
  finishReason: string | undefined
}

/** Text that comes in pieces; any other field of a delta is there once. */
const GROWING = new Set(['content', 'reasoning_content', 'reasoning', 'refusal', 'text'])
/** The fields of a chunk that describe the whole answer. */
const HEAD_FIELDS = ['id', 'created', 'model', 'system_fingerprint', 'service_tier']

export class AnswerAssembly {
  readonly #isChat: boolean
  readonly #drafts = new Map<number, Draft>()
  readonly #head: Fields = {}
  #usage: Fields | undefined
  #error: StreamedError | undefined

  constructor(isChat: boolean) {
    this.#isChat = isChat
  }

  get error(): StreamedError | undefined {
    return this.#error
  }

  /** Takes the data of one event. Throws `engine-failed` when it is not a chunk of an answer. */
  add(data: string): void {
    const chunk = parseChunk(data)
    if (chunk.error !== undefined && chunk.error !== null) {
      this.#error = readError(chunk.error)
      return
    }
    for (const name of HEAD_FIELDS) if (chunk[name] !== undefined) this.#head[name] ??= chunk[name]
    this.#usage = chunk.usage ?? this.#usage
    for (const choice of chunk.choices ?? []) this.#addChoice(choice)
  }

  /** The complete answer. Throws `engine-failed` when the endpoint stopped before its end. */
  finish(): Fields {
    const drafts = [...this.#drafts].sort(([left], [right]) => left - right)
    const isWhole = drafts.length > 0 && drafts.every(([, { finishReason }]) => finishReason !== undefined)
    if (!isWhole)
      throw new HearthError('engine-failed', 'the endpoint closed the connection in the middle of an answer')
    return {
      ...this.#head,
      object: this.#isChat ? 'chat.completion' : 'text_completion',
      choices: drafts.map(([index, { content, logprobs, finishReason }]) => ({
        index,
        ...(this.#isChat ? { message: { role: 'assistant', content: null, ...content } } : content),
        logprobs: logprobs ?? null,
        finish_reason: finishReason,
      })),
      usage: this.#usage ?? null,
    }
  }

  #addChoice({ index = 0, delta, text, finish_reason: finishReason, logprobs }: Choice): void {
    const draft = this.#drafts.get(index) ?? this.#draft(index)
    const fields = this.#isChat ? delta : typeof text === 'string' ? { text } : undefined
    for (const [name, value] of Object.entries(fields ?? {})) mergeField(draft.content, name, value)
    if (logprobs !== null && logprobs !== undefined) growLists((draft.logprobs ??= {}), logprobs)
    draft.finishReason = finishReason ?? draft.finishReason
  }

  #draft(index: number): Draft {
    const content = this.#isChat ? {} : { text: '' }
    const draft: Draft = { content, logprobs: undefined, finishReason: undefined }
    this.#drafts.set(index, draft)
    return draft
  }
}

function parseChunk(data: string): z.infer<typeof CHUNK> {
  try {
    return CHUNK.parse(JSON.parse(data))
  } catch (cause) {
    throw new HearthError('engine-failed', 'the endpoint sent an event that is not part of an answer', {
      cause,
    })
  }
}

function mergeField(target: Fields, name: string, value: unknown): void {
  if (value === null || value === undefined) return
  if (name === 'tool_calls' && Array.isArray(value)) target[name] = mergeCalls(target[name], value)
  else if (GROWING.has(name) && typeof value === 'string') target[name] = textOf(target[name]) + value
  else target[name] = value
}

/** Tool calls come in pieces, each with the index of its call; only name and arguments grow. */
function mergeCalls(before: unknown, pieces: readonly unknown[]): Fields[] {
  const calls = Array.isArray(before) ? (before as Fields[]) : []
  for (const piece of pieces) {
    const { index = 0, function: part, ...rest } = piece as { index?: number; function?: Fields }
    if (!(index >= 0 && index <= ENDPOINT_CHOICES_MAX)) continue
    const call = (calls[index] ??= {})
    const named = (call['function'] ?? {}) as Fields
    Object.assign(call, rest)
    for (const name of ['name', 'arguments']) {
      if (typeof part?.[name] === 'string') named[name] = textOf(named[name]) + part[name]
    }
    call['function'] = named
  }
  return calls
}

/** Lists grow, in place: an answer has thousands of tokens. Anything else is there once. */
function growLists(target: Fields, more: Fields): void {
  for (const [name, value] of Object.entries(more)) {
    const list = target[name]
    if (!Array.isArray(value)) target[name] = value ?? list
    else if (Array.isArray(list)) for (const item of value) list.push(item)
    else target[name] = [...(value as unknown[])]
  }
}

/** OpenAI's `error` is an object; vLLM gives it an HTTP status as code; others send text. */
function readError(error: unknown): StreamedError {
  const { code, message } = (typeof error === 'object' ? error : { message: error }) as Fields
  return {
    statusCode: typeof code === 'number' ? code : undefined,
    message: typeof message === 'string' ? message : JSON.stringify(error),
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
