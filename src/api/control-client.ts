import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { HearthError } from '../base/errors.ts'
import type { ControlAccess } from '../node/home/data-folder.ts'

/** Asks the local peer with `access`. Throws the error that it answers, or `peer-unreachable`. */
export async function askPeer<T>(
  access: ControlAccess,
  path: string,
  body?: object,
  signal?: AbortSignal,
): Promise<T> {
  const response = await reach(access, path, body, signal)
  const answer = (await response.json()) as Refused | T
  if (isRefused(answer)) throw errorOf(answer)
  return answer
}

interface Refused {
  error: { code: string; message: string; data?: Record<string, unknown> }
}

function isRefused(answer: unknown): answer is Refused {
  return (answer as Partial<Refused> | null)?.error !== undefined
}

function errorOf(answer: unknown): HearthError {
  const { code, message, data } = (answer as Refused).error
  return new HearthError(code as HearthError['code'], message, data === undefined ? {} : { data })
}

/**
 * Like `askPeer`, for long operations: calls `onProgress` with each event, and resolves with the last one.
 * Aborting the signal also ends the operation in the peer.
 */
export async function followPeer<Work extends { progress: object; result: object }>(
  access: ControlAccess,
  path: string,
  onProgress: (progress: Work['progress']) => void,
  signal: AbortSignal,
): Promise<Work['result']> {
  const response = await reach(access, path, {}, signal)
  if (response.body === null || !response.ok) throw errorOf(await response.json())
  const lines = createInterface({ input: Readable.fromWeb(response.body) })
  for await (const line of lines) {
    const event = JSON.parse(line) as { event: string } & Refused['error']
    if (event.event === 'done') return event
    if (event.event === 'error') throw errorOf({ error: event })
    onProgress(event)
  }
  signal.throwIfAborted()
  throw new HearthError(
    'peer-unreachable',
    'The local peer stopped before it had finished. Start it with "hearth up" and run the command again',
  )
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
      'No peer runs on this data folder. Start one with "hearth up"',
      { cause },
    )
  }
}
