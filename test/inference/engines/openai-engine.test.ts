import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  ENDPOINT_ANSWER_BYTES_MAX,
  ENDPOINT_CHOICES_MAX,
  ENDPOINT_EVENT_CHARACTERS_MAX,
  ENDPOINT_REFUSAL_BYTES_MAX,
  RESULT_BODY_BYTES_MAX,
} from '../../../src/base/limits.ts'
import type { Logger } from '../../../src/base/log/logger.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { writeDeclaration } from '../../../src/inference/endpoint/declaration.ts'
import type { EndpointOptions } from '../../../src/inference/endpoint/endpoint-options.ts'
import type { Engine, EngineRequest } from '../../../src/inference/contract/engine.ts'
import { EngineHost } from '../../../src/inference/host/engine-host.ts'
import { loadEngine } from '../../../src/inference/engines/load-engine.ts'
import {
  beginStream,
  sendEvent,
  sendJson,
  startEndpoint,
  streamChat,
  type EndpointHandler,
  type EndpointServer,
} from '../../../testing/endpoint-server.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

/** Long enough that the largest answer allowed is read without a pause that looks like silence. */
const SILENCE_MS = 1_000

const CHAT = 'POST /chat/completions'
const KEY = 'sk-very-secret'

let folder: string
let cleanup: AsyncDisposableStack
let logged: string[]

beforeEach(async () => {
  cleanup = new AsyncDisposableStack()
  logged = []
  folder = temporaryFolder('endpoint')
  cleanup.defer(() => rm(folder, { recursive: true, force: true }))
  await writeDeclaration(folder, { model: 'tiny' })
})
afterEach(() => cleanup.disposeAsync())

const log: Logger = {
  debug: (fields, text) => void logged.push(JSON.stringify({ fields, text })),
  info: (fields, text) => void logged.push(JSON.stringify({ fields, text })),
  warn: (fields, text) => void logged.push(JSON.stringify({ fields, text })),
  error: (fields, text) => void logged.push(JSON.stringify({ fields, text })),
}

async function serve(routes: Record<string, EndpointHandler>): Promise<EndpointServer> {
  return cleanup.use(await startEndpoint(routes))
}

async function load(
  url: string,
  options: Partial<EndpointOptions> & { slots?: number } = {},
): Promise<Engine> {
  const { slots, ...more } = options
  return await loadEngine(
    folder,
    { engine: 'openai', threads: 1, slots, endpoint: { url, model: 'tiny', ...more } },
    { clock: systemClock, random: seededRandom(1), log },
  )
}

const chat = (text: string, more: object = {}): EngineRequest => ({
  url: '/v1/chat/completions',
  body: { messages: [{ role: 'user', content: text }], max_tokens: 4, ...more },
})

describe('an endpoint that answers', () => {
  test('a streamed answer becomes one body, with the usage that the endpoint counted', async () => {
    const server = await serve({ [CHAT]: ({ response }) => streamChat(response, ['Hel', 'lo', ' ✓']) })
    const engine = await load(server.url, { apiKey: KEY })
    expect(engine.facts).toMatchObject({ engine: 'openai', slots: 16 })
    const result = await engine.run(chat('hi', { model: 'whatever', temperature: 0.5 }))
    expect(result).toEqual({
      ok: true,
      statusCode: 200,
      usage: { promptTokens: 3, completionTokens: 3 },
      body: {
        id: 'chatcmpl-1',
        object: 'chat.completion',
        created: 7,
        model: 'tiny',
        choices: [
          {
            index: 0,
            message: { role: 'assistant', content: 'Hello ✓' },
            logprobs: null,
            finish_reason: 'stop',
          },
        ],
        usage: { prompt_tokens: 3, completion_tokens: 3, total_tokens: 6 },
      },
    })
    const call = server.calls.at(-1)!
    expect(call.body).toMatchObject({ model: 'tiny', temperature: 0.5, stream: true, max_tokens: 4 })
    expect(call.request.headers.authorization).toBe(`Bearer ${KEY}`)
    expect(logged.join()).not.toContain(KEY)
  })

  test('events in single bytes, with CR, comments and no end of stream, are the same answer', async () => {
    const server = await serve({
      [CHAT]: async ({ response }) => {
        beginStream(response)
        const text = [
          ': ping\r\n\r\n',
          `data:${JSON.stringify({ id: 'a', choices: [{ index: 0, delta: { content: 'Grüße' } }] })}\r\n\r\n`,
          `data: ${JSON.stringify({ choices: [{ delta: {}, finish_reason: 'length' }] })}\n\n`,
        ].join('')
        for (const byte of Buffer.from(text)) {
          response.write(Buffer.from([byte]))
          await new Promise((resolve) => setImmediate(resolve))
        }
        response.end()
      },
    })
    const result = await (await load(server.url)).run(chat('hi'))
    expect(result).toMatchObject({
      ok: true,
      usage: { promptTokens: 0, completionTokens: 0 },
      body: { usage: null, choices: [{ message: { content: 'Grüße' }, finish_reason: 'length' }] },
    })
  })

  test('choices, tool calls, log-probabilities and reasoning are put together', async () => {
    const chunks = [
      { index: 1, delta: { role: 'assistant', content: 'b' }, logprobs: { content: [{ token: 'b' }] } },
      { index: 0, delta: { reasoning_content: 'think ' } },
      { index: 0, delta: { reasoning_content: 'hard' } },
      {
        index: 0,
        delta: { tool_calls: [{ index: 0, id: 'c1', type: 'function', function: { name: 'f' } }] },
      },
      { index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: '{"a"' } }] } },
      { index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: ':1}' } }] } },
      { index: 1, delta: { content: 'c' }, finish_reason: 'stop', logprobs: { content: [{ token: 'c' }] } },
      { index: 0, delta: {}, finish_reason: 'tool_calls' },
    ]
    const server = await serve({
      [CHAT]: ({ response }) => {
        beginStream(response)
        for (const choice of chunks) sendEvent(response, { choices: [choice] })
        sendEvent(response, '[DONE]')
      },
    })
    const result = await (await load(server.url)).run(chat('hi', { n: 2 }))
    expect(result.ok && result.body['choices']).toEqual([
      {
        index: 0,
        message: {
          role: 'assistant',
          content: null,
          reasoning_content: 'think hard',
          tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
        },
        logprobs: null,
        finish_reason: 'tool_calls',
      },
      {
        index: 1,
        message: { role: 'assistant', content: 'bc' },
        logprobs: { content: [{ token: 'b' }, { token: 'c' }] },
        finish_reason: 'stop',
      },
    ])
  })

  test('completions stream text, embeddings are asked for whole, and so may a server answer chats', async () => {
    const server = await serve({
      'POST /completions': ({ response }) => {
        beginStream(response)
        sendEvent(response, { choices: [{ index: 0, text: 'ab' }] })
        sendEvent(response, { choices: [{ index: 0, text: 'c', finish_reason: 'stop' }] })
        sendEvent(response, '[DONE]')
      },
      'POST /embeddings': ({ response }) =>
        sendJson(response, 200, { data: [{ embedding: [1, 2] }], usage: { prompt_tokens: 5 } }),
      [CHAT]: ({ response }) => sendJson(response, 200, { choices: [{ message: { content: 'whole' } }] }),
    })
    const engine = await load(server.url)
    expect(await engine.run({ url: '/v1/completions', body: { prompt: 'x' } })).toMatchObject({
      body: { object: 'text_completion', choices: [{ text: 'abc', finish_reason: 'stop' }] },
    })
    expect(await engine.run({ url: '/v1/embeddings', body: { input: 'x' } })).toMatchObject({
      body: { data: [{ embedding: [1, 2] }] },
      usage: { promptTokens: 5, completionTokens: 0 },
    })
    expect(server.calls.at(-1)?.body).toEqual({ input: 'x', model: 'tiny' })
    expect(await engine.run(chat('x'))).toMatchObject({
      body: { choices: [{ message: { content: 'whole' } }] },
    })
  })

  test('as many requests as it has slots run at once', async () => {
    let running = 0
    let most = 0
    const server = await serve({
      [CHAT]: async ({ response }) => {
        most = Math.max(most, (running += 1))
        await new Promise((resolve) => setTimeout(resolve, 10))
        running -= 1
        streamChat(response, ['x'])
      },
    })
    const engine = await load(server.url, { slots: 3 })
    const results = await Promise.all(Array.from({ length: 12 }, (_, index) => engine.run(chat(`p${index}`))))
    expect(results.every(({ ok }) => ok)).toBe(true)
    expect(most).toBe(3)
  })
})

describe('an endpoint that does not', () => {
  test('429 with retry-after is waited for, then answered', async () => {
    const times: number[] = []
    const server = await serve({
      [CHAT]: ({ response, count }) => {
        times.push(performance.now())
        if (count < 3) sendJson(response, count === 1 ? 429 : 503, {}, { 'retry-after': '0.1' })
        else streamChat(response, ['late'])
      },
    })
    const result = await (await load(server.url)).run(chat('hi'))
    expect(result).toMatchObject({ ok: true, body: { choices: [{ message: { content: 'late' } }] } })
    expect(times[1]! - times[0]!).toBeGreaterThan(95)
    expect(times[2]! - times[1]!).toBeGreaterThan(95)
  })

  test('a wait longer than is worth it sends the request elsewhere at once', async () => {
    const server = await serve({
      [CHAT]: ({ response }) => sendJson(response, 429, {}, { 'retry-after': '3600' }),
    })
    expect(await (await load(server.url)).run(chat('hi'))).toEqual({
      ok: false,
      statusCode: 502,
      error: {
        code: 'engine-failed',
        message: 'the endpoint is busy: it answered 1 requests with status 429',
      },
    })
  })

  test.each([
    [
      400,
      { error: { message: 'too long' } },
      400,
      'request-invalid',
      'the endpoint rejects the request: too long',
    ],
    [
      422,
      { error: 'no such field' },
      422,
      'request-invalid',
      'the endpoint rejects the request: no such field',
    ],
    [413, { detail: 'big' }, 413, 'request-invalid', 'the endpoint rejects the request: big'],
    [
      500,
      { message: 'out of memory' },
      502,
      'engine-failed',
      'the endpoint failed (status 500): out of memory',
    ],
    [
      404,
      { error: { message: 'no model' } },
      502,
      'engine-failed',
      'the endpoint failed (status 404): no model',
    ],
    [
      401,
      { error: { message: `wrong key ${KEY}` } },
      502,
      'engine-failed',
      'the endpoint refuses its API key (status 401): the owner of this peer must correct --api-key-file',
    ],
    [
      502,
      `key ${KEY} of the proxy`,
      502,
      'engine-failed',
      'the endpoint failed (status 502): "key … of the proxy"',
    ],
  ])('status %i with %j', async (statusCode, body, resultStatus, code, message) => {
    const server = await serve({ [CHAT]: ({ response }) => sendJson(response, statusCode, body) })
    const result = await (await load(server.url, { apiKey: KEY })).run(chat('hi'))
    expect(result).toEqual({ ok: false, statusCode: resultStatus, error: { code, message } })
  })

  const first = { choices: [{ index: 0, delta: { content: 'a' } }] }
  test.each<[string, EndpointHandler, string]>([
    [
      'hangs up in mid-stream',
      ({ response }) => {
        beginStream(response)
        sendEvent(response, first)
        setImmediate(() => response.socket?.destroy())
      },
      'cannot reach the endpoint (UND_ERR_SOCKET): check that its server runs',
    ],
    [
      'ends in mid-answer',
      ({ response }) => {
        beginStream(response)
        sendEvent(response, first)
        response.end()
      },
      'the endpoint closed the connection in the middle of an answer',
    ],
    [
      'hangs up at once',
      ({ response }) => response.socket?.destroy(),
      'cannot reach the endpoint (UND_ERR_SOCKET): check that its server runs',
    ],
    [
      'streams what is no JSON',
      ({ response }) => {
        beginStream(response)
        sendEvent(response, first)
        response.end('data: {"choices": [{"ind\n\n')
      },
      'the endpoint sent an event that is not part of an answer',
    ],
    [
      'streams what is no UTF-8',
      ({ response }) => {
        beginStream(response)
        response.end(Buffer.from([0x64, 0xff, 0xfe, 0x0a]))
      },
      'the endpoint sent bytes that are not UTF-8',
    ],
    [
      'streams a line without end',
      ({ response }) => {
        beginStream(response)
        response.end(`data: ${'x'.repeat(ENDPOINT_EVENT_CHARACTERS_MAX)}`)
      },
      `the endpoint sent a line longer than ${ENDPOINT_EVENT_CHARACTERS_MAX} characters`,
    ],
    [
      'streams a choice beyond any that was asked for',
      ({ response }) => {
        beginStream(response)
        sendEvent(response, { choices: [{ index: ENDPOINT_CHOICES_MAX + 1, delta: { content: 'x' } }] })
      },
      'the endpoint sent an event that is not part of an answer',
    ],
    [
      'refuses at a length beyond reading',
      ({ response }) => {
        response.writeHead(400).end('x'.repeat(ENDPOINT_REFUSAL_BYTES_MAX + 1))
      },
      `the endpoint sent over ${ENDPOINT_REFUSAL_BYTES_MAX} bytes`,
    ],
    [
      'answers at a length beyond reading',
      ({ response }) => {
        response.end(Buffer.alloc(ENDPOINT_ANSWER_BYTES_MAX + 1, ' '))
      },
      `the endpoint sent over ${ENDPOINT_ANSWER_BYTES_MAX} bytes`,
    ],
    [
      'streams an error',
      ({ response }) => {
        beginStream(response)
        sendEvent(response, first)
        sendEvent(response, { error: { message: 'CUDA error', code: 500 } })
      },
      'the endpoint failed (status 500): CUDA error',
    ],
    [
      'answers what is no JSON',
      ({ response }) => {
        response.end('<html>')
      },
      'the endpoint sent an answer that is not a JSON object',
    ],
    [
      'sends it to another server',
      ({ response }) => {
        response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()
      },
      'cannot reach the endpoint (unexpected redirect): check that its server runs',
    ],
    ['never answers', () => {}, `the endpoint sent nothing for ${SILENCE_MS} ms`],
    [
      'stops in mid-stream',
      ({ response }) => {
        beginStream(response)
        sendEvent(response, first)
      },
      `the endpoint sent nothing for ${SILENCE_MS} ms`,
    ],
  ])('when it %s, the request goes elsewhere, and the next one is asked', async (_what, handler, message) => {
    const server = await serve({
      [CHAT]: (call) => (call.count === 1 ? handler(call) : streamChat(call.response, ['ok'])),
    })
    const engine = await load(server.url, { silenceMsMax: SILENCE_MS })
    expect(await engine.run(chat('hi'))).toEqual({
      ok: false,
      statusCode: 502,
      error: { code: 'engine-failed', message },
    })
    expect(await engine.run(chat('hi'))).toMatchObject({ ok: true })
  })

  test('an answer that trickles for ever is ended by the bound on the whole', async () => {
    const server = await serve({
      [CHAT]: async ({ response, gone }) => {
        beginStream(response)
        const timer = setInterval(() => sendEvent(response, { choices: [] }), 20)
        await gone
        clearInterval(timer)
      },
    })
    const engine = await load(server.url, { silenceMsMax: 150, answerMsMax: 300 })
    expect(await engine.run(chat('hi'))).toMatchObject({
      statusCode: 502,
      error: { message: "no answer within 300 ms: the endpoint's answer" },
    })
    await server.calls.at(-1)!.gone
  })

  test('an answer too large for a result is refused as the request’s own', async () => {
    const server = await serve({
      [CHAT]: ({ response }) =>
        streamChat(
          response,
          Array.from({ length: 3 }, () => 'x'.repeat(Math.ceil(RESULT_BODY_BYTES_MAX / 3))),
        ),
    })
    expect(await (await load(server.url)).run(chat('hi'))).toMatchObject({
      ok: false,
      statusCode: 422,
      error: { code: 'request-invalid' },
    })
  })

  test('nobody listens', async () => {
    const server = await startEndpoint({ [CHAT]: ({ response }) => streamChat(response, ['x']) })
    const engine = await load(server.url)
    await server[Symbol.asyncDispose]()
    expect(await engine.run(chat('hi'))).toMatchObject({
      ok: false,
      statusCode: 502,
      error: {
        code: 'engine-failed',
        message: 'cannot reach the endpoint (ECONNREFUSED): check that its server runs',
      },
    })
    await expect(load(server.url)).rejects.toMatchObject({ code: 'engine-failed' })
  })

  test('cancelling ends the request at the endpoint and frees the slot', async () => {
    const server = await serve({
      [CHAT]: ({ response, count }) => (count === 1 ? beginStream(response) : streamChat(response, ['ok'])),
    })
    const engine = await load(server.url, { slots: 1 })
    const cancel = new AbortController()
    const run = engine.run(chat('hi'), { signal: cancel.signal })
    const next = engine.run(chat('next'))
    await expect.poll(() => server.calls.filter(({ request }) => request.method === 'POST').length).toBe(1)
    cancel.abort(new Error('not wanted'))
    await expect(run).rejects.toThrow('not wanted')
    await server.calls.at(-1)!.gone
    expect(await next).toMatchObject({ ok: true })
  })

  test.each([
    ['/v1/audio', {}, 'this context does not serve /v1/audio'],
    ['/v1/chat/completions', 7, "the request's body is not a JSON object"],
  ])('a request to %s with body %j never reaches it', async (url, body, message) => {
    const server = await serve({})
    const engine = await load(server.url)
    const calls = server.calls.length
    expect(await engine.run({ url, body })).toMatchObject({ statusCode: 400, error: { message } })
    expect(server.calls).toHaveLength(calls)
  })
})

describe('which endpoint a context is for', () => {
  const endpoint = { url: 'http://127.0.0.1:1/v1', model: 'tiny' }
  const components = { clock: systemClock, random: seededRandom(1), log }

  test('equal declarations are equal bytes', async () => {
    const path = join(folder, 'hearth-endpoint.json')
    const before = await readFile(path, 'utf8')
    await writeDeclaration(folder, { declared: undefined, model: 'tiny' })
    expect(await readFile(path, 'utf8')).toBe(before)
    expect(before).toBe('{\n  "version": 1,\n  "engine": "openai",\n  "model": "tiny"\n}\n')
  })

  test('a peer without an endpoint refuses it, and says what it needs', async () => {
    await expect(loadEngine(folder, { engine: 'auto', threads: 1 }, components)).rejects.toMatchObject({
      code: 'model-unsupported',
      message: expect.stringContaining('needs an endpoint that serves tiny, which this peer does not have'),
    })
  })

  test('a peer whose endpoint serves something else refuses it', async () => {
    await writeDeclaration(folder, { model: 'tiny', declared: 'sha256:1' })
    await expect(loadEngine(folder, { engine: 'openai', threads: 1, endpoint }, components)).rejects.toThrow(
      "needs an endpoint that serves tiny (sha256:1); this peer's serves tiny",
    )
  })

  test('a peer of an endpoint runs no weights', async () => {
    await rm(join(folder, 'hearth-endpoint.json'))
    await expect(loadEngine(folder, { engine: 'openai', threads: 1, endpoint }, components)).rejects.toThrow(
      'serves only the model of its endpoint',
    )
  })

  test('a damaged declaration is refused', async () => {
    await writeFile(join(folder, 'hearth-endpoint.json'), '{"version":2}')
    await expect(
      loadEngine(folder, { engine: 'openai', threads: 1, endpoint }, components),
    ).rejects.toMatchObject({ code: 'context-invalid' })
  })

  test('an endpoint that lists other models is refused, one that lists ours tells its length', async () => {
    const models = [{ id: 'big' }, { id: 'tiny:latest', max_model_len: 2048 }]
    const server = await serve({ 'GET /models': ({ response }) => sendJson(response, 200, { data: models }) })
    expect((await load(server.url)).facts.contextLengthMax).toBe(2048)
    models.pop()
    await expect(load(server.url)).rejects.toMatchObject({
      code: 'model-unsupported',
      message: 'the endpoint does not serve tiny. It serves big: choose one of them',
    })
  })
})

test('the engine runs in an engine host, like any other', async () => {
  const server = await serve({ [CHAT]: ({ response }) => streamChat(response, ['hosted']) })
  const host = new EngineHost(
    { clock: systemClock, log },
    { folder, engine: 'openai', slots: 2, endpoint: { url: server.url, model: 'tiny', apiKey: KEY } },
  )
  cleanup.defer(() => host.stop())
  expect(await host.start()).toMatchObject({ engine: 'openai', slots: 2 })
  expect(await host.run(chat('hi'))).toMatchObject({
    ok: true,
    body: { choices: [{ message: { content: 'hosted' } }] },
  })
  expect(logged.join()).not.toContain(KEY)
})
