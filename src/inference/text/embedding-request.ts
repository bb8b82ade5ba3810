// Reads and writes OpenAI's embeddings: https://platform.openai.com/docs/api-reference/embeddings
import { z } from 'zod'
import { HearthError } from '../../base/errors.ts'
import type { EngineRequest, EngineResult } from '../contract/engine.ts'
import { withoutNeutral } from './neutral-settings.ts'
import { listOf, parse } from './openai-request.ts'

/** OpenAI's own bound. */
const INPUTS_MAX = 2_048

const TOKENS = z.array(z.int().min(0)).min(1)

const BODY = z.strictObject({
  model: z.string().optional(),
  input: z.union(
    [
      z.string(),
      TOKENS,
      z
        .array(z.union([z.string(), TOKENS]))
        .min(1)
        .max(INPUTS_MAX),
    ],
    `must be a text, a list of tokens, or a list of up to ${INPUTS_MAX} of either`,
  ),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.int().min(1).nullish(),
  prompt_name: z.string().nullish(),
})

export interface EmbeddingRequest {
  model: string | undefined
  inputs: (string | number[])[]
  isBase64: boolean
  /** Elements of the vectors wanted; undefined for all. */
  dimensions: number | undefined
  /** Which of the model's prompts; undefined for its default. No field of OpenAI's: text-embeddings-inference has it. */
  promptName: string | undefined
}

/** Throws `request-invalid`, with a message for whoever wrote the request. */
export function readEmbeddingRequest({ url, body }: EngineRequest): EmbeddingRequest {
  if (url !== '/v1/embeddings') {
    throw new HearthError(
      'request-invalid',
      `this context makes embeddings and does not serve ${url}: use /v1/embeddings`,
    )
  }
  const { model, input, encoding_format: format, ...more } = parse(BODY, withoutNeutral(body))
  return {
    model,
    inputs: listOf(input),
    isBase64: format === 'base64',
    dimensions: more.dimensions ?? undefined,
    promptName: more.prompt_name ?? undefined,
  }
}

export function writeEmbeddings(
  { model, isBase64 }: EmbeddingRequest,
  vectors: readonly Float32Array[],
  promptTokens: number,
): EngineResult {
  const write = (vector: Float32Array): string | number[] =>
    isBase64
      ? Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64')
      : [...vector]
  return {
    ok: true,
    statusCode: 200,
    usage: { promptTokens, completionTokens: 0 },
    body: {
      object: 'list',
      data: vectors.map((vector, index) => ({ object: 'embedding', index, embedding: write(vector) })),
      model: model ?? 'hearth',
      usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
    },
  }
}
