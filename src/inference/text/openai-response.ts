// Writes a finished generation as OpenAI's API does.
import { createHash } from 'node:crypto'
import type { EngineResult, EngineUsage } from '../contract/engine.ts'
import type { Generation, ScoredToken } from '../sampling/generation.ts'
import type { TextRequest } from './openai-request.ts'
import type { TokenLogprob } from '../sampling/sampling.ts'
import type { TextCodec } from './text-codec.ts'

/**
 * The answer to a request: a choice for each of its prompts, in their order.
 * @param createdSeconds Unix time
 */
export function writeResponse(
  request: TextRequest,
  generations: readonly Generation[],
  codec: TextCodec,
  createdSeconds: number,
): EngineResult {
  const isChat = request.kind === 'chat'
  const sum = (count: (generation: Generation) => number): number =>
    generations.reduce((total, generation) => total + count(generation), 0)
  const usage: EngineUsage = {
    promptTokens: sum(({ promptTokens }) => promptTokens.length),
    completionTokens: sum(({ tokensComputed }) => tokensComputed),
  }
  return {
    ok: true,
    statusCode: 200,
    usage,
    body: {
      id: `${isChat ? 'chatcmpl' : 'cmpl'}-${idOf(generations)}`,
      object: isChat ? 'chat.completion' : 'text_completion',
      created: createdSeconds,
      model: request.model ?? 'hearth',
      choices: generations.map((generation, index) => writeChoice(request, generation, index, codec)),
      usage: {
        prompt_tokens: usage.promptTokens,
        completion_tokens: usage.completionTokens,
        total_tokens: usage.promptTokens + usage.completionTokens,
      },
    },
  }
}

function writeChoice(request: TextRequest, generation: Generation, index: number, codec: TextCodec): object {
  const text = generation.stoppedText ?? codec.decode(generation.tokens)
  return {
    index,
    ...(request.kind === 'chat' ? { message: { role: 'assistant', content: text } } : { text }),
    logprobs: writeLogprobs(request, generation.scores, codec),
    finish_reason: generation.finishReason,
  }
}

/** The same prompts with the same answers have the same id on every peer. */
function idOf(generations: readonly Generation[]): string {
  const text = generations.map(({ promptTokens, tokens }) => `${promptTokens.join()};${tokens.join()}`)
  return createHash('sha256').update(text.join('|')).digest('hex').slice(0, 24)
}

function writeLogprobs(
  { kind, topLogprobs }: TextRequest,
  scores: readonly ScoredToken[],
  codec: TextCodec,
): object | null {
  if (topLogprobs === undefined) return null
  return kind === 'chat' ? chatLogprobs(scores, codec) : completionLogprobs(scores, codec)
}

function chatLogprobs(scores: readonly ScoredToken[], codec: TextCodec): object {
  const write = ({ token, logprob }: TokenLogprob): object => {
    const { text, bytes } = codec.pieceOf(token)
    return { token: text, logprob, bytes: [...bytes] }
  }
  return { content: scores.map(({ chosen, top }) => ({ ...write(chosen), top_logprobs: top.map(write) })) }
}

function completionLogprobs(scores: readonly ScoredToken[], codec: TextCodec): object {
  const tokens = scores.map(({ chosen }) => codec.pieceOf(chosen.token).text)
  let offset = 0
  return {
    tokens,
    token_logprobs: scores.map(({ chosen }) => chosen.logprob),
    top_logprobs: scores.map(({ top }) =>
      Object.fromEntries(top.map(({ token, logprob }) => [codec.pieceOf(token).text, logprob])),
    ),
    text_offset: tokens.map((token) => {
      offset += token.length
      return offset - token.length
    }),
  }
}
