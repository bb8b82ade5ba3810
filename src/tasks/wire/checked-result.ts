import { nesting } from '../../base/json-nesting.ts'
import { FRAME_BYTES_MAX, JSON_DEPTH_MAX, RESULT_TOKENS_MAX } from '../../base/limits.ts'
import type { Outcome, TaskResult } from './task-messages.ts'

const ERROR_CODE_UNITS_MAX = 256

/**
 * A peer's result as it may be committed; one that breaks a bound counts as a failure of its peer. Every later
 * reader of the journal relies on these bounds, beside those of the message's schema.
 */
export function checkedResult(result: TaskResult): TaskResult {
  if (result.outcome === 'retry' || isCommittable(result)) return result
  return { ...result, outcome: 'retry' }
}

function isCommittable({ outcome, body, promptTokens, completionTokens }: TaskResult): boolean {
  return (
    promptTokens <= RESULT_TOKENS_MAX &&
    completionTokens <= RESULT_TOKENS_MAX &&
    Buffer.byteLength(body) <= FRAME_BYTES_MAX &&
    nesting(body) <= JSON_DEPTH_MAX &&
    isBodyOf(outcome, body)
  )
}

/** An answer is an object; an error has a code and a message. */
function isBodyOf(outcome: Outcome, text: string): boolean {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    return false
  }
  if (body === null || typeof body !== 'object' || Array.isArray(body)) return false
  if (outcome === 'ok') return true
  const { code, message } = body as { code?: unknown; message?: unknown }
  return typeof code === 'string' && code.length <= ERROR_CODE_UNITS_MAX && typeof message === 'string'
}
