import { HearthError } from '../base/errors.ts'
import type { ControlAccess } from '../node/data-folder.ts'

/** Asks the peer that runs on this machine with `access`. Throws what it answered, or `peer-unreachable`. */
export async function askPeer<T>(
  access: ControlAccess,
  path: string,
  body?: object,
  signal?: AbortSignal,
): Promise<T> {
  const response = await reach(access, path, body, signal)
  const answer = (await response.json()) as {
    error?: { code: string; message: string; data?: Record<string, unknown> }
  }
  if (answer.error === undefined) return answer as T
  const { code, message, data } = answer.error
  throw new HearthError(code as HearthError['code'], message, data === undefined ? {} : { data })
}

async function reach(
  access: ControlAccess,
  path: string,
  body: object | undefined,
  signal: AbortSignal | undefined,
): Promise<Response> {
  try {
    return await fetch(`http://127.0.0.1:${access.port}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${access.key}`, 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ?? null,
    })
  } catch (cause) {
    throw new HearthError(
      'peer-unreachable',
      'no peer runs on this data folder; start one with "hearth up"',
      { cause },
    )
  }
}
