// All that is checked of a request before a kernel sees it. Engines check by it; a submitter checks form and settings
// by it, and reports every bad line before anything runs.
import { HearthError } from '../../base/errors.ts'
import type { EmbeddingRecipe } from '../contract/embedding-recipe.ts'
import type { EngineRequest } from '../contract/engine.ts'
import { readEmbeddingRequest, type EmbeddingRequest } from './embedding-request.ts'
import { readTextRequest } from './openai-request.ts'

/** Bounds on the tokens of one prompt or input; undefined where they are not known. */
export interface TokenBounds {
  contextLengthMax: number | undefined
  vocabularySize: number | undefined
}

/** The limits that a model sets for requests for its embeddings. */
export type EmbeddingRules = Pick<EmbeddingRecipe, 'prompts' | 'defaultPrompt' | 'shorter' | 'size'>

/** The context's properties against which a request is checked. */
export type RequestTarget =
  | { kind: 'generate'; hasChatTemplate: boolean }
  | { kind: 'embeddings'; rules: EmbeddingRules }
  /** A server of its owner, which knows settings that Hearth does not. */
  | { kind: 'endpoint' }
  /** Any of these. */
  | { kind: 'unknown' }

/**
 * Throws `request-invalid` for a request whose form or settings the engine of `target` refuses. Its tokens are not
 * looked at: what a text comes to is known only where it is tokenized, and a bad one is an error of its own line.
 */
export function checkRequest(target: RequestTarget, request: EngineRequest): void {
  switch (target.kind) {
    case 'generate':
      if (readTextRequest(request).kind === 'chat' && !target.hasChatTemplate) throw noChatTemplate()
      return
    case 'embeddings':
      checkEmbedding(readEmbeddingRequest(request), target.rules)
      return
    case 'endpoint':
    case 'unknown':
      return checkEndpointRequest(request)
  }
}

export function noChatTemplate(): HearthError {
  return new HearthError('request-invalid', 'this context has no chat template: use /v1/completions')
}

/** Throws `request-invalid` for a prompt that a generating model cannot run, and answer with a token at least. */
export function checkPromptTokens(tokens: readonly number[], bounds: TokenBounds): void {
  const { contextLengthMax = Infinity } = bounds
  if (tokens.length === 0) throw invalid('the prompt is empty: write text into it')
  checkVocabulary('prompt', tokens, bounds)
  if (tokens.length >= contextLengthMax) {
    throw invalid(
      `the prompt has ${tokens.length} tokens, and prompt and answer together may have ${contextLengthMax}: shorten the prompt`,
    )
  }
}

/**
 * The prompt that goes before each text: the one that the request names, or the model's default. Throws
 * `request-invalid` for settings that the model does not have.
 */
export function checkEmbedding(
  { inputs, promptName, dimensions }: EmbeddingRequest,
  { prompts, defaultPrompt, shorter, size }: EmbeddingRules,
): string {
  if (dimensions !== undefined && dimensions !== size) checkDimensions(dimensions, shorter)
  const name = promptName ?? defaultPrompt
  const prompt = name === undefined ? '' : prompts[name]
  if (prompt === undefined) {
    const known = Object.keys(prompts).join(', ')
    throw invalid(
      `the model has no prompt "${name}"${known === '' ? ': leave prompt_name out' : `; it has ${known}`}`,
    )
  }
  if (prompt !== '' && inputs.some((input) => typeof input !== 'string'))
    throw invalid('this model puts a prompt before each text, so "input" must be text, not tokens')
  return prompt
}

function checkDimensions(dimensions: number, shorter: EmbeddingRules['shorter']): void {
  if (shorter === 'none') {
    throw invalid(
      'dimensions is not supported by this model: its config.json has no matryoshka_dimensions. Leave it out',
    )
  }
  if (shorter !== 'any' && !shorter.includes(dimensions))
    throw invalid(`dimensions must be one of ${shorter.join(', ')} for this model, got ${dimensions}`)
}

/** Throws `request-invalid` for a text that an embedding model cannot run. */
export function checkInputTokens(tokens: readonly number[], bounds: TokenBounds): void {
  const { contextLengthMax = Infinity } = bounds
  if (tokens.length === 0) throw invalid('the input is empty: write text or tokens into "input"')
  checkVocabulary('input', tokens, bounds)
  if (tokens.length > contextLengthMax) {
    throw invalid(
      `the input has ${tokens.length} tokens, and this model takes at most ${contextLengthMax}: shorten it`,
    )
  }
}

function checkVocabulary(
  what: string,
  tokens: readonly number[],
  { vocabularySize = Infinity }: TokenBounds,
): void {
  // A token that is no number at all fails, too.
  const foreign = tokens.find((token) => !(token < vocabularySize))
  if (foreign !== undefined) throw invalid(`token ${foreign} of the ${what} is not in the model's vocabulary`)
}

/** The field that each endpoint cannot do without; others that stand for it on some servers. */
const REQUIRED: Readonly<Record<string, readonly string[]>> = {
  '/v1/chat/completions': ['messages'],
  '/v1/completions': ['prompt', 'prompt_embeds'],
  '/v1/embeddings': ['input', 'messages'],
}

/** Throws `request-invalid` for a request that every server refuses; the rest is for the server to say. */
export function checkEndpointRequest({ url, body }: EngineRequest): void {
  const required = REQUIRED[url]
  if (required === undefined) throw invalid(`this context does not serve ${url}`)
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw invalid("the request's body is not a JSON object")
  const fields = body as Record<string, unknown>
  if (required.every((field) => fields[field] === undefined || fields[field] === null))
    throw invalid(`in the request's body, ${required[0]} is missing`)
  const { messages } = fields
  if (messages !== undefined && !(Array.isArray(messages) && messages.length > 0))
    throw invalid("in the request's body, messages must be a list of at least one message")
}

function invalid(message: string): HearthError {
  return new HearthError('request-invalid', message)
}
