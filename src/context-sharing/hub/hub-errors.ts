import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import { readRetryAfter } from '../../base/waiting/retry-after.ts'
import type { HubEnvironment, HubRepo } from './hub-repo.ts'

/** Statuses after which the same request may succeed a little later. */
const PASSING: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504])

export interface HubFailureData {
  reason: 'not-found' | 'denied' | 'busy' | 'unreachable' | 'no-range' | 'corrupt' | 'offline' | 'refused'
  statusCode?: number
  /** The wait that the hub asks for, ms. */
  retryAfterMs?: number | undefined
}

export function hubFailure(message: string, data: HubFailureData, cause?: unknown): HearthError {
  return new HearthError('download-failed', message, { data: { ...data }, cause })
}

/** Whether the same request may succeed a little later. */
export function isPassing(error: unknown): error is HearthError {
  return (
    isHearthError(error, 'deadline-passed') ||
    (isHearthError(error, 'download-failed') &&
      (error.data['reason'] === 'busy' || error.data['reason'] === 'unreachable'))
  )
}

/** Turns a failed response into an error that says what to do. */
export function failureOf(
  response: { status: number; headers: Headers },
  repo: HubRepo,
  { endpoint, token }: HubEnvironment,
  wallMs: number,
): HearthError {
  const { status, headers } = response
  const page = `${endpoint}/${repo.name}`
  if (PASSING.has(status)) {
    const retryAfterMs = readRetryAfter(headers.get('retry-after'), wallMs)
    const asked = retryAfterMs === undefined ? '' : ` and asks to wait ${Math.ceil(retryAfterMs / 1_000)} s`
    return hubFailure(`the hub at ${endpoint} answers with status ${status}${asked}: try again later`, {
      reason: 'busy',
      statusCode: status,
      retryAfterMs,
    })
  }
  const code = headers.get('x-error-code')
  if (status === 404 && code === 'RevisionNotFound') {
    return hubFailure(`${page} has no revision "${repo.revision}"`, {
      reason: 'not-found',
      statusCode: status,
    })
  }
  const isHidden = status === 401 || status === 403
  if (isHidden || code === 'GatedRepo') {
    const remedy =
      token === undefined
        ? `the model does not exist, or it is private or gated: check its name, or set HF_TOKEN to a token of an account that may read it`
        : `HF_TOKEN is not valid, or its account may not read the model: check the token, and if the model is gated, ask for access on its page`
    return hubFailure(`${page} cannot be read (status ${status}): ${remedy}`, {
      reason: 'denied',
      statusCode: status,
    })
  }
  if (status === 404) {
    return hubFailure(`there is no ${page}: check its name, or set HF_TOKEN if it is private`, {
      reason: 'not-found',
      statusCode: status,
    })
  }
  return hubFailure(`the hub at ${endpoint} refuses the request (status ${status})`, {
    reason: 'refused',
    statusCode: status,
  })
}

/** Turns a failed connection into an error. */
export function unreachable(error: unknown, endpoint: string): HearthError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  const code = (cause as { code?: unknown } | undefined)?.code
  const why = typeof code === 'string' ? code : messageOf(cause)
  return hubFailure(
    `the hub at ${endpoint} cannot be reached (${why}): check the network, or set HF_HUB_OFFLINE=1 to use only cached files`,
    { reason: 'unreachable' },
    error,
  )
}
