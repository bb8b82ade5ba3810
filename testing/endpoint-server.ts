import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface EndpointCall {
  request: IncomingMessage
  body: Record<string, any>
  response: ServerResponse
  /** 1 for the first call of this path. */
  count: number
  /** Resolves when the client has gone. */
  gone: Promise<void>
}

export type EndpointHandler = (call: EndpointCall) => void | Promise<void>

export interface EndpointServer extends AsyncDisposable {
  url: string
  calls: EndpointCall[]
}

/** A real HTTP server with the routes given, as 'POST /chat/completions'; without /models it answers 404. */
export async function startEndpoint(routes: Record<string, EndpointHandler>): Promise<EndpointServer> {
  const calls: EndpointCall[] = []
  const counts = new Map<string, number>()
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const gone = new Promise<void>((resolve) => response.once('close', resolve))
    const text = await readBody(request)
    const route = `${request.method} ${request.url?.replace(/^\/v1/, '')}`
    const count = (counts.get(route) ?? 0) + 1
    counts.set(route, count)
    const body = text === '' ? {} : (JSON.parse(text) as Record<string, any>)
    const call = { request, body, response, count, gone }
    calls.push(call)
    const handler = routes[route]
    if (handler === undefined) sendJson(response, 404, { error: { message: `no ${route}` } })
    else await handler(call)
  }
  const server = createServer((request, response) => void answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    calls,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export function sendJson(
  response: ServerResponse,
  statusCode: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(statusCode, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(body))
}

export function beginStream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
}

export function sendEvent(response: ServerResponse, data: unknown): void {
  response.write(`data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`)
}

/** The chunks of a chat answer that says `words`, as vLLM sends them. */
export function streamChat(response: ServerResponse, words: readonly string[], model = 'tiny'): void {
  const head = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 7, model }
  const chunk = (delta: object, finish: string | null = null): void =>
    sendEvent(response, { ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }] })
  beginStream(response)
  chunk({ role: 'assistant', content: '' })
  for (const word of words) chunk({ content: word })
  chunk({}, 'stop')
  const usage = { prompt_tokens: 3, completion_tokens: words.length, total_tokens: 3 + words.length }
  sendEvent(response, { ...head, choices: [], usage })
  sendEvent(response, '[DONE]')
  response.end()
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts).toString('utf8')
}
