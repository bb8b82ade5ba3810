import { writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { sendJson, startEndpoint, streamChat, type EndpointServer } from '../../testing/endpoint-server.ts'
import { readOutput, TestSwarm } from '../../testing/process-swarm.ts'

let swarm: TestSwarm
let server: EndpointServer
beforeEach(async () => {
  swarm = await TestSwarm.create()
  server = await startEndpoint({
    'GET /models': ({ response }) => sendJson(response, 200, { data: [{ id: 'tiny:1b' }] }),
    'POST /chat/completions': ({ response, body }) =>
      body['messages'][0].content === '!bad'
        ? sendJson(response, 400, { error: { message: 'not this one' } })
        : streamChat(response, ['echo ', body['messages'][0].content]),
  })
})
afterEach(async () => {
  await swarm.dispose()
  await server[Symbol.asyncDispose]()
})

const SERVING = ['--engine', 'openai', '--model', 'tiny:1b']

function jobLines(prompts: readonly string[]): string {
  return prompts
    .map((content, index) =>
      JSON.stringify({
        custom_id: `${index}`,
        method: 'POST',
        url: '/v1/chat/completions',
        body: { messages: [{ role: 'user', content }] },
      }),
    )
    .join('\n')
}

describe('a server that a machine runs already', () => {
  test('serves jobs of the swarm: bad lines are errors, all else is answered', async () => {
    const keyFile = await swarm.file('key', 'sk-secret\n')
    const peer = await swarm.up(
      'a',
      ...SERVING,
      '--url',
      server.url,
      '--api-key-file',
      keyFile,
      '--slots',
      '4',
    )
    const added = await peer.process.event('endpoint', 30_000)
    expect(added).toMatchObject({ name: 'tiny-1b', model: 'tiny:1b', problem: null })
    const prompts = Array.from({ length: 40 }, (_, index) => (index === 7 ? '!bad' : `prompt ${index}`))
    const input = await swarm.file('job.jsonl', jobLines(prompts))
    const submit = swarm.submit(input, swarm.path('out.jsonl'), '--context', 'tiny-1b')
    expect(await submit.event('job-summary', 60_000)).toMatchObject({ committed: 40, failed: 1 })
    const lines = await readOutput(swarm.path('out.jsonl'))
    expect(lines[3]?.response?.body.choices[0]?.message.content).toBe('echo prompt 3')
    expect(JSON.stringify(lines[7])).toContain('not this one')
    expect(server.calls.at(-1)?.request.headers.authorization).toBe('Bearer sk-secret')
    expect(JSON.stringify(peer.process.events) + peer.process.stderr).not.toContain('sk-secret')
    expect((await peer.status()).contexts).toMatchObject([{ tier: 'warm', engine: 'openai', slots: 4 }])
  })

  test('a peer that has none fetches the declaration, refuses, and says why', async () => {
    const first = await swarm.up('a', ...SERVING, '--url', server.url, '--declare', 'sha256:1')
    const { contextId } = await first.process.event('endpoint', 30_000)
    const second = await swarm.up('b')
    const input = await swarm.file('job.jsonl', jobLines(['one']))
    await swarm.hearth('pause', '--data', first.data.path).exited
    const context = ['--context', String(contextId), '--wait', '4']
    const submit = swarm.submit(input, swarm.path('out.jsonl'), ...context)
    const isRefused = (event: Record<string, unknown>): boolean =>
      JSON.stringify(event['peers'] ?? '').includes('needs an endpoint that serves tiny:1b (sha256:1)')
    await submit.event('progress', 30_000, isRefused)
    expect(await submit.exited).toBe(6)
    expect((await second.status()).contexts).toMatchObject([{ tier: 'stored' }])
  })

  test('two owners who declare the same have the same context, whatever their addresses and keys', async () => {
    const other = await startEndpoint({})
    const keyFile = await swarm.file('key', 'sk-other')
    const first = await swarm.up('a', ...SERVING, '--url', server.url)
    const second = await swarm.up(
      'b',
      ...SERVING,
      '--url',
      other.url,
      '--api-key-file',
      keyFile,
      '--name',
      'x',
    )
    const [one, two] = await Promise.all(
      [first, second].map(({ process }) => process.event('endpoint', 30_000)),
    )
    expect(two?.['contextId']).toBe(one?.['contextId'])
    expect(two).toMatchObject({ name: 'x' })
    await other[Symbol.asyncDispose]()
  })

  test.each([
    [['--engine', 'openai'], '--engine openai needs --url'],
    [['--url', 'http://127.0.0.1:1/v1'], '--url works only with --engine openai'],
    [[...SERVING, '--url', 'http://me:sk-1@127.0.0.1/v1'], '--url must not contain a key'],
    [[...SERVING, '--url', 'localhost:8000'], '--url must be the base URL of an API'],
  ])('hearth up %j is refused', async (parameters, message) => {
    const child = swarm.hearth('up', '--data', swarm.path('x'), ...parameters)
    const error = await child.event('error', 30_000)
    expect(error).toMatchObject({ code: 'usage' })
    expect(error['message']).toContain(message)
    expect(JSON.stringify(error)).not.toContain('sk-1')
    expect(await child.exited).toBe(2)
  })

  test('a key file without a key is refused, and its content is not shown', async () => {
    const keyFile = swarm.path('key')
    await writeFile(keyFile, 'sk-1\nsk-2\n')
    const child = swarm.hearth(
      'up',
      '--data',
      swarm.path('x'),
      ...SERVING,
      '--url',
      server.url,
      '--api-key-file',
      keyFile,
    )
    expect(JSON.stringify(await child.event('error', 30_000))).not.toContain('sk-')
    expect(await child.exited).toBe(3)
  })
})
