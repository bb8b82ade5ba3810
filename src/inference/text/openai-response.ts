// Writes a finished generation as OpenAI's API does.
import { createHash } from 'node:crypto'
import type { EngineResult, EngineUsage } from '../contract/engine.ts'
import type { Generation, ScoredToken } from '../sampling/generation.ts'
import type { TextRequest } from './openai-request.ts'
import type { TokenLogprob } from '../sampling/sampling.ts'
import type { TextCodec } from './text-codec.ts'

/** @param createdSeconds Unix time */
export function writeResponse(
  request: TextRequest,
  generation: Generation,
  codec: TextCodec,
  createdSeconds: number,
): EngineResult {
  const isChat = request.kind === 'chat'
  const text = generation.stoppedText ?? codec.decode(generation.tokens)
  const usage: EngineUsage = {
    promptTokens: generation.promptTokens.length,
    completionTokens: generation.tokensComputed,
  }
  const choice = {
    index: 0,
    ...(isChat ? { message: { role: 'assistant', content: text } } : { text }),
    logprobs: writeLogprobs(request, generation.scores, codec),
    finish_reason: generation.finishReason,
  }
  return {
    ok: true,
    statusCode: 200,
    usage,
    body: {
      id: `${isChat ? 'chatcmpl' : 'cmpl'}-${idOf(generation)}`,
      object: isChat ? 'chat.completion' : 'text_completion',
      created: createdSeconds,
      model: request.model ?? 'hearth',
      choices: [choice],
      usage: {
        prompt_tokens: usage.promptTokens,
        completion_tokens: usage.completionTokens,
        total_tokens: usage.promptTokens + usage.completionTokens,
      },
    },
  }
}

/** The same prompt with the same answer has the same id on every peer. */
function idOf({ promptTokens, tokens }: Generation): string {
  return createHash('sha256').update(`${promptTokens.join()};${tokens.join()}`).digest('hex').slice(0, 24)
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
