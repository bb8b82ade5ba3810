// Reads a request in OpenAI's form: https://platform.openai.com/docs/api-reference (chat, completions),
// with vLLM's names for what OpenAI has not. What we do not do is refused by name, never ignored:
// a setting that silently does nothing spoils a job of a million lines.
import { z } from 'zod'
import { HearthError } from '../../base/errors.ts'
import type { EngineRequest } from '../contract/engine.ts'

/** Choices, alternatives and strings of one request that we are ready to handle. */
const STOP_STRINGS_MAX = 16
const STOP_STRING_CHARACTERS_MAX = 256
const TOP_LOGPROBS_MAX = 20
const MESSAGES_MAX = 4_096

/** Absent and null mean the same in OpenAI's API. */
const maybe = <T extends z.ZodType>(schema: T): z.ZodOptional<z.ZodNullable<T>> =>
  schema.nullable().optional()

/** A setting that may only be what it is by default, because we do nothing else. */
const only = (...values: (string | number | boolean)[]): z.ZodOptional<z.ZodNullable<z.ZodType>> =>
  maybe(z.literal(values, { error: `only ${values.join(' or ')} is supported` }))

const COUNT = z.int().min(1)
const TOKEN_ID = z.int().min(0)

/** Of no effect on the answer. */
const IGNORED = z.unknown().optional()

const SAMPLING_FIELDS = {
  model: z.string().optional(),
  max_tokens: maybe(COUNT),
  temperature: maybe(z.number().min(0).max(100)),
  top_p: maybe(z.number().gt(0).max(1)),
  top_k: maybe(z.int().min(-1)),
  min_p: maybe(z.number().min(0).max(1)),
  seed: maybe(z.int()),
  stop: maybe(
    z.union([
      z.string().min(1).max(STOP_STRING_CHARACTERS_MAX),
      z.array(z.string().min(1).max(STOP_STRING_CHARACTERS_MAX)).max(STOP_STRINGS_MAX),
    ]),
  ),
  stop_token_ids: maybe(z.array(TOKEN_ID).max(STOP_STRINGS_MAX)),
  ignore_eos: maybe(z.boolean()),
  repetition_penalty: maybe(z.number().gt(0).max(100)),
  presence_penalty: maybe(z.number().min(-2).max(2)),
  frequency_penalty: maybe(z.number().min(-2).max(2)),
  n: only(1),
  stream: only(false),
  user: IGNORED,
  metadata: IGNORED,
  store: IGNORED,
  service_tier: IGNORED,
  safety_identifier: IGNORED,
  prompt_cache_key: IGNORED,
}

const TEXT_PART = z.strictObject({ type: z.literal('text'), text: z.string() })

const MESSAGE = z.strictObject({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: z.union([z.string(), z.array(TEXT_PART)]),
  name: z.string().optional(),
  tool_call_id: z.string().optional(),
})

const CHAT_BODY = z.strictObject({
  ...SAMPLING_FIELDS,
  messages: z.array(MESSAGE).min(1).max(MESSAGES_MAX),
  max_completion_tokens: maybe(COUNT),
  logprobs: maybe(z.boolean()),
  top_logprobs: maybe(z.int().min(0).max(TOP_LOGPROBS_MAX)),
  response_format: maybe(z.strictObject({ type: z.literal('text') })),
  /** vLLM: more variables for the chat template, as enable_thinking. */
  chat_template_kwargs: maybe(z.record(z.string(), z.unknown())),
})

const COMPLETION_BODY = z.strictObject({
  ...SAMPLING_FIELDS,
  prompt: z.union([z.string(), z.array(TOKEN_ID).min(1)]),
  logprobs: maybe(z.int().min(0).max(TOP_LOGPROBS_MAX)),
  best_of: only(1),
  echo: only(false),
})

type SamplingBody = z.infer<z.ZodObject<typeof SAMPLING_FIELDS>>

export interface ChatMessage {
  role: string
  content: string
  name?: string
  tool_call_id?: string
}

export type Prompt =
  | { kind: 'chat'; messages: ChatMessage[]; templateVariables: Record<string, unknown> }
  | { kind: 'text'; text: string }
  | { kind: 'tokens'; tokens: number[] }

/** What a request asks for. A setting that it leaves to the context is undefined. */
export interface TextRequest {
  kind: 'chat' | 'completion'
  model: string | undefined
  prompt: Prompt
  tokensMax: number | undefined
  temperature: number | undefined
  topP: number | undefined
  /** 0: no bound. */
  topK: number | undefined
  minP: number | undefined
  seed: number | undefined
  repetitionPenalty: number | undefined
  presencePenalty: number
  frequencyPenalty: number
  stopStrings: string[]
  stopTokens: number[]
  ignoresEndToken: boolean
  /** Alternatives listed beside each token; undefined when no log-probabilities are wanted. */
  topLogprobs: number | undefined
}

/** Throws `request-invalid`, with a message for whoever wrote the request. */
export function readTextRequest({ url, body }: EngineRequest): TextRequest {
  switch (url) {
    case '/v1/chat/completions':
      return readChat(parse(CHAT_BODY, withoutNeutralMessages(withoutNeutral(body))))
    case '/v1/completions':
      return readCompletion(parse(COMPLETION_BODY, withoutNeutral(body)))
    default:
      throw new HearthError('request-invalid', `this context does not serve ${url}`)
  }
}

function readChat(body: z.infer<typeof CHAT_BODY>): TextRequest {
  const messages = body.messages.map(({ content, name, tool_call_id: toolCallId, role }) => ({
    role,
    content: typeof content === 'string' ? content : content.map(({ text }) => text).join(''),
    ...(name === undefined ? {} : { name }),
    ...(toolCallId === undefined ? {} : { tool_call_id: toolCallId }),
  }))
  return {
    ...readSampling(body),
    kind: 'chat',
    prompt: { kind: 'chat', messages, templateVariables: body.chat_template_kwargs ?? {} },
    tokensMax: body.max_completion_tokens ?? body.max_tokens ?? undefined,
    topLogprobs: body.logprobs === true ? (body.top_logprobs ?? 0) : undefined,
  }
}

function readCompletion(body: z.infer<typeof COMPLETION_BODY>): TextRequest {
  const { prompt } = body
  return {
    ...readSampling(body),
    kind: 'completion',
    prompt: typeof prompt === 'string' ? { kind: 'text', text: prompt } : { kind: 'tokens', tokens: prompt },
    tokensMax: body.max_tokens ?? undefined,
    topLogprobs: body.logprobs ?? undefined,
  }
}

type SamplingRequest = Omit<TextRequest, 'kind' | 'prompt' | 'tokensMax' | 'topLogprobs'>

function readSampling(body: SamplingBody): SamplingRequest {
  const stop = body.stop ?? []
  const topK = body.top_k ?? undefined
  return {
    model: body.model,
    temperature: body.temperature ?? undefined,
    topP: body.top_p ?? undefined,
    topK: topK === -1 ? 0 : topK,
    minP: body.min_p ?? undefined,
    seed: body.seed ?? undefined,
    repetitionPenalty: body.repetition_penalty ?? undefined,
    presencePenalty: body.presence_penalty ?? 0,
    frequencyPenalty: body.frequency_penalty ?? 0,
    stopStrings: typeof stop === 'string' ? [stop] : stop,
    stopTokens: body.stop_token_ids ?? [],
    ignoresEndToken: body.ignore_eos ?? false,
  }
}

/** Settings that ask for what happens without them, as SDKs write them. */
const NEUTRAL_SETTINGS: Readonly<Record<string, readonly string[]>> = {
  tools: ['[]'],
  functions: ['[]'],
  tool_choice: ['"none"', '"auto"'],
  function_call: ['"none"', '"auto"'],
  logit_bias: ['{}'],
  modalities: ['["text"]'],
  suffix: ['""'],
}

/** The same in a message: an SDK writes an assistant's answer with every field that it knows. */
const NEUTRAL_IN_MESSAGE: Readonly<Record<string, readonly string[]>> = {
  annotations: ['[]'],
  tool_calls: ['[]'],
}

/** A body without the fields that are null or say what holds anyway: in OpenAI's API both mean absent. */
export function withoutNeutral(
  body: unknown,
  neutral: Readonly<Record<string, readonly string[]>> = NEUTRAL_SETTINGS,
): unknown {
  if (body === null || typeof body !== 'object' || Array.isArray(body)) return body
  return Object.fromEntries(
    Object.entries(body).filter(
      ([field, value]) =>
        value !== null &&
        !(Object.hasOwn(neutral, field) && neutral[field]?.includes(JSON.stringify(value)) === true),
    ),
  )
}

function withoutNeutralMessages(body: unknown): unknown {
  const messages = (body as { messages?: unknown } | null)?.messages
  if (!Array.isArray(messages)) return body
  return {
    ...(body as object),
    messages: messages.map((message) => withoutNeutral(message, NEUTRAL_IN_MESSAGE)),
  }
}

/** Checks `value`. Throws `request-invalid`, naming each field that is wrong. */
export function parse<T extends z.ZodType>(schema: T, value: unknown): z.infer<T> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.slice(0, 3).map(describeIssue)
  throw new HearthError('request-invalid', `in the request's body, ${problems.join('; ')}`)
}

function describeIssue(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') {
    return `${issue.keys.slice(0, 8).join(', ')} ${issue.keys.length === 1 ? 'is' : 'are'} not supported`
  }
  const path = issue.path.join('.')
  return path === '' ? issue.message : `${path}: ${issue.message}`
}
