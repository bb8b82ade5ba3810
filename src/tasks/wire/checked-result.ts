import { z, type ZodType } from 'zod'
import { nesting } from '../../base/json-nesting.ts'
import { FRAME_BYTES_MAX, JSON_DEPTH_MAX, RESULT_TOKENS_MAX } from '../../base/limits.ts'
import type { TaskResult } from './task-messages.ts'

const tokens = z.number().int().nonnegative().max(RESULT_TOKENS_MAX)
const answer = z.looseObject({})
const refusal = z.looseObject({ code: z.string().max(256), message: z.string() })

function isBodyOf(schema: ZodType, text: string): boolean {
  if (Buffer.byteLength(text) > FRAME_BYTES_MAX || nesting(text) > JSON_DEPTH_MAX) return false
  try {
    return schema.safeParse(JSON.parse(text)).success
  } catch {
    return false
  }
}

/** A result that may be committed: every later reader of the journal relies on these bounds. */
const committableSchema: ZodType<TaskResult> = z
  .strictObject({
    n: z.number().int().nonnegative(),
    epoch: z.number().int().positive(),
    outcome: z.enum(['ok', 'bad-request', 'retry']),
    statusCode: z.number().int().min(100).max(599),
    body: z.string(),
    promptTokens: tokens,
    completionTokens: tokens,
  })
  .refine(({ outcome, body }) => isBodyOf(outcome === 'ok' ? answer : refusal, body))

/** A peer's result as it may be committed; one that breaks the schema counts as a failure of its peer. */
export function checkedResult(result: TaskResult): TaskResult {
  if (result.outcome === 'retry' || committableSchema.safeParse(result).success) return result
  return { ...result, outcome: 'retry' }
}
