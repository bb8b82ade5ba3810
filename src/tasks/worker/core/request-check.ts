import { nesting } from '../../../base/json-nesting.ts'
import { JSON_DEPTH_MAX, REQUEST_LINE_BYTES_MAX, RESULT_TOKENS_MAX } from '../../../base/limits.ts'
import type { TaskRequest, TaskResult } from '../../wire/task-messages.ts'

/** Inside a string its quotes are escaped, so that a prompt that names the setting does not match. */
const TOKENS_WANTED = /"max_(?:completion_)?tokens"\s*:\s*(\d+)/g

/**
 * The error of a request that no engine should see, because reading it alone would cost others their time;
 * undefined for one that is fit to run. A body that is short cannot be deep, and this runs for each request.
 */
export function refusedRequest({ n, epoch, body }: TaskRequest): TaskResult | undefined {
  const why = whyUnfit(body)
  if (why === undefined) return undefined
  const message = JSON.stringify({ code: 'request-invalid', message: why })
  return {
    n,
    epoch,
    outcome: 'bad-request',
    statusCode: 400,
    body: message,
    promptTokens: 0,
    completionTokens: 0,
  }
}

function whyUnfit(body: string): string | undefined {
  if (body.length <= JSON_DEPTH_MAX) return undefined
  if (body.length > REQUEST_LINE_BYTES_MAX)
    return `the request has ${body.length} characters, over the limit of ${REQUEST_LINE_BYTES_MAX}: shorten it`
  const depth = nesting(body)
  if (depth > JSON_DEPTH_MAX)
    return `the request's JSON is nested ${depth} levels deep, over the limit of ${JSON_DEPTH_MAX}: flatten it`
  for (const [, digits] of body.matchAll(TOKENS_WANTED)) {
    if (Number(digits) > RESULT_TOKENS_MAX)
      return `the request asks for ${digits} tokens, over the limit of ${RESULT_TOKENS_MAX}: ask for fewer`
  }
  return undefined
}
