// Reads a request in OpenAI's form: https://platform.openai.com/docs/api-reference (chat, completions),
// with vLLM's names for what OpenAI has not. What we do not do is refused by name, never ignored:
// a setting that silently does nothing spoils a job of a million lines.
import { z } from 'zod'
import { HearthError } from '../../base/errors.ts'
import type { NumberBounds } from '../../base/number-option.ts'
import { REQUEST_BOUNDS, STOP_STRING_CHARACTERS_MAX, STOP_STRINGS_MAX } from '../contract/request-bounds.ts'
import type { EngineRequest } from '../contract/engine.ts'
import { withoutNeutral } from './neutral-settings.ts'

/** Alternatives, messages and prompts of one request that we are ready to handle. */
const TOP_LOGPROBS_MAX = 20
const MESSAGES_MAX = 4_096
const PROMPTS_MAX = 128

/** Absent and null mean the same in OpenAI's API. */
const maybe = <T extends z.ZodType>(schema: T): z.ZodOptional<z.ZodNullable<T>> =>
  schema.nullable().optional()

/** A setting that may only be what it is by default, because we do nothing else. */
const only = (...values: (string | number | boolean)[]): z.ZodOptional<z.ZodNullable<z.ZodType>> =>
  maybe(z.literal(values, { error: `only ${values.join(' or ')} is supported` }))

/** A number within bounds, as a job's options are. */
function numberIn({ isWhole, least, most, above }: NumberBounds): z.ZodType<number> {
  let schema: z.ZodNumber = isWhole === true ? z.int() : z.number()
  if (least !== undefined) schema = schema.min(least)
  if (most !== undefined) schema = schema.max(most)
  return above === undefined ? schema : schema.gt(above)
}

const COUNT = numberIn(REQUEST_BOUNDS.max_tokens)
const TOKEN_ID = z.int().min(0)
const TOKENS = z.array(TOKEN_ID).min(1)
const STOP_STRING = z.string().min(1).max(STOP_STRING_CHARACTERS_MAX)

const SAMPLING_FIELDS = {
  model: z.string().optional(),
  max_tokens: maybe(COUNT),
  temperature: maybe(numberIn(REQUEST_BOUNDS.temperature)),
  top_p: maybe(numberIn(REQUEST_BOUNDS.top_p)),
  top_k: maybe(numberIn(REQUEST_BOUNDS.top_k)),
  min_p: maybe(numberIn(REQUEST_BOUNDS.min_p)),
  seed: maybe(numberIn(REQUEST_BOUNDS.seed)),
  stop: maybe(
    z.union(
      [STOP_STRING, z.array(STOP_STRING).max(STOP_STRINGS_MAX)],
      `must be a text of 1 to ${STOP_STRING_CHARACTERS_MAX} characters, or a list of up to ${STOP_STRINGS_MAX} such texts`,
    ),
  ),
  stop_token_ids: maybe(z.array(TOKEN_ID).max(STOP_STRINGS_MAX)),
  ignore_eos: maybe(z.boolean()),
  repetition_penalty: maybe(numberIn(REQUEST_BOUNDS.repetition_penalty)),
  presence_penalty: maybe(numberIn(REQUEST_BOUNDS.presence_penalty)),
  frequency_penalty: maybe(numberIn(REQUEST_BOUNDS.frequency_penalty)),
  n: only(1),
  stream: only(false),
}

const TEXT_PART = z.strictObject({
  type: z.literal('text', 'only parts of type "text" are supported'),
  text: z.string(),
})

const MESSAGE = z.strictObject({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: z.union([z.string(), z.array(TEXT_PART)], 'must be text or a list of text parts'),
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
  prompt: z.union(
    [
      z.string(),
      TOKENS,
      z.array(z.string()).min(1).max(PROMPTS_MAX),
      z.array(TOKENS).min(1).max(PROMPTS_MAX),
    ],
    `must be a text, a list of tokens, or a list of up to ${PROMPTS_MAX} of either`,
  ),
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

/** The settings of a request. One that it leaves to the context is undefined. */
export interface TextRequest {
  kind: 'chat' | 'completion'
  model: string | undefined
  /** One for a chat; each prompt of a completion has a choice of its own. */
  prompts: Prompt[]
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
      return readChat(parse(CHAT_BODY, withoutNeutral(body)))
    case '/v1/completions':
      return readCompletion(parse(COMPLETION_BODY, withoutNeutral(body)))
    default:
      throw new HearthError(
        'request-invalid',
        `this context generates text and does not serve ${url}: use /v1/chat/completions or /v1/completions`,
      )
  }
}

function readChat(body: z.infer<typeof CHAT_BODY>): TextRequest {
  const topLogprobs = body.top_logprobs ?? 0
  if (topLogprobs > 0 && body.logprobs !== true) {
    throw new HearthError(
      'request-invalid',
      "in the request's body, top_logprobs needs logprobs: add logprobs: true, or leave both out",
    )
  }
  const messages = body.messages.map(({ content, name, tool_call_id: toolCallId, role }) => ({
    role,
    content: typeof content === 'string' ? content : content.map(({ text }) => text).join(''),
    ...(name === undefined ? {} : { name }),
    ...(toolCallId === undefined ? {} : { tool_call_id: toolCallId }),
  }))
  return {
    ...readSampling(body),
    kind: 'chat',
    prompts: [{ kind: 'chat', messages, templateVariables: body.chat_template_kwargs ?? {} }],
    tokensMax: body.max_completion_tokens ?? body.max_tokens ?? undefined,
    topLogprobs: body.logprobs === true ? topLogprobs : undefined,
  }
}

function readCompletion(body: z.infer<typeof COMPLETION_BODY>): TextRequest {
  return {
    ...readSampling(body),
    kind: 'completion',
    prompts: listOf(body.prompt).map((prompt) =>
      typeof prompt === 'string' ? { kind: 'text', text: prompt } : { kind: 'tokens', tokens: prompt },
    ),
    tokensMax: body.max_tokens ?? undefined,
    topLogprobs: body.logprobs ?? undefined,
  }
}

/** The prompts or inputs in a field that takes one or several: a list of numbers is the tokens of one. */
export function listOf(value: string | number[] | (string | number[])[]): (string | number[])[] {
  if (typeof value === 'string') return [value]
  return typeof value[0] === 'number' ? [value as number[]] : (value as (string | number[])[])
}

type SamplingRequest = Omit<TextRequest, 'kind' | 'prompts' | 'tokensMax' | 'topLogprobs'>

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

/** Checks `value`. Throws `request-invalid`, naming each field that is wrong. */
export function parse<T extends z.ZodType>(schema: T, value: unknown): z.infer<T> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.slice(0, 3).map(describeIssue)
  throw new HearthError('request-invalid', `in the request's body, ${problems.join('; ')}`)
}

function describeIssue(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') {
    const names = issue.keys.slice(0, 8).map((key) => [...issue.path, key].join('.'))
    return `${names.join(', ')} ${issue.keys.length === 1 ? 'is' : 'are'} not supported`
  }
  const inner = issue.code === 'invalid_union' ? deepest(issue.errors) : undefined
  if (inner !== undefined) return describeIssue({ ...inner, path: [...issue.path, ...inner.path] })
  const path = issue.path.join('.')
  return path === '' ? issue.message : `${path}: ${issue.message}`
}

/** The fault inside the value by the branch of a union that fits it furthest; undefined when no branch has its type. */
function deepest(branches: z.core.$ZodIssue[][]): z.core.$ZodIssue | undefined {
  const inside = branches.map(([first]) => first).filter((first) => (first?.path.length ?? 0) > 0)
  const placeOf = (issue: z.core.$ZodIssue | undefined): number => Number(issue?.path[0] ?? -1)
  return inside.toSorted((left, right) => placeOf(right) - placeOf(left))[0]
}
