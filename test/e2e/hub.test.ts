import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { HearthProcess } from '../../src/cli/terminal/child-process.ts'
import { HubServer, sendPart } from '../../testing/hub-server.ts'
import { FACTS, TestSwarm } from '../../testing/process-swarm.ts'

const PATHS = [
  'config.json',
  'generation_config.json',
  'onnx/model.onnx',
  'tokenizer.json',
  'tokenizer_config.json',
]
const MODEL = 'onnx/model.onnx'

let swarm: TestSwarm
let hub: HubServer
let adding: HearthProcess[]

beforeEach(async () => {
  swarm = await TestSwarm.create()
  adding = []
  const files = PATHS.map((path) => [path, readFileSync(join(FACTS, path))] as const)
  hub = await new HubServer({ name: 'hearth/facts', files: Object.fromEntries(files) }).start()
})
afterEach(async () => {
  for (const child of adding) child.kill('SIGKILL')
  await Promise.all(adding.map((child) => child.exited))
  await hub.stop()
  await swarm.dispose()
})

function add(...parameters: string[]): HearthProcess {
  return addAt('a', ...parameters)
}

/** On a machine of its own: each peer has a cache to itself. */
function addAt(name: string, ...parameters: string[]): HearthProcess {
  const base = ['context', 'add', 'hf:hearth/facts', '--data', swarm.path(name)]
  const child = new HearthProcess([...base, ...parameters], {
    ...process.env,
    HF_ENDPOINT: hub.url,
    HF_HOME: swarm.path(`huggingface-${name}`),
  })
  adding.push(child)
  return child
}

describe('hearth context add hf:…', () => {
  test('killed in the middle of a file, the same command goes on from there, and the context runs', async () => {
    const half = Math.floor(hub.bytesOf(MODEL).byteLength / 2)
    hub.failing(/^\/onnx\/model\.onnx$/, sendPart(hub.bytesOf(MODEL), half, 'silence'))
    const killed = add('--name', 'facts')
    await killed.event('download', 30_000, ({ bytes }) => Number(bytes) >= half)
    killed.kill('SIGKILL')
    await killed.exited

    const peer = await swarm.up('a')
    const again = add('--name', 'facts')
    const added = await again.event('context-added', 30_000)
    expect(hub.callsTo(/^\/onnx\/model\.onnx$/).map(({ range }) => range?.split('-')[0])).toEqual([
      undefined,
      `bytes=${half}`,
    ])
    expect(added['contextId']).toBe(await swarm.importFacts('b'))
    expect((await peer.status()).contexts).toMatchObject([
      { contextId: added['contextId'], names: ['facts'] },
    ])
    const submit = swarm.submit(await swarm.claims(5), swarm.path('out.jsonl'))
    expect(await submit.event('job-summary', 60_000)).toMatchObject({ committed: 5, failed: 0 })
  })

  test('Ctrl-C ends it with status 130, and a model that is not there with status 6', async () => {
    hub.failing(/^\/onnx\/model\.onnx$/, sendPart(hub.bytesOf(MODEL), 1_000, 'silence'))
    const running = add()
    await running.event('download', 30_000, ({ bytes }) => Number(bytes) >= 1_000)
    running.kill('SIGINT')
    expect(await running.exited).toBe(130)
    hub.options.name = 'hearth/other'
    const refused = add()
    expect(await refused.event('error', 30_000)).toMatchObject({
      code: 'download-failed',
      data: { reason: 'denied', statusCode: 401 },
    })
    expect(await refused.exited).toBe(6)
  })
})

describe('several peers that add the same model of a hub at once', () => {
  const modelBytes = (): number => PATHS.reduce((bytes, path) => bytes + hub.bytesOf(path).byteLength, 0)

  async function addEverywhere(names: readonly string[]): Promise<HearthProcess[]> {
    hub.options.bytesPerSecond = modelBytes() / 2
    for (const name of names) await swarm.up(name)
    return names.map((name) => addAt(name, '--name', 'facts'))
  }

  test('download it once, and pass it on among themselves', async () => {
    const children = await addEverywhere(['a', 'b', 'c'])
    const added = await Promise.all(children.map((child) => child.event('context-added', 60_000)))
    expect(new Set(added.map(({ contextId }) => contextId)).size).toBe(1)
    expect(added.map(({ from }) => String(from)).sort()).toEqual(['hub', 'peers', 'peers'])
    expect(hub.bytesSent / modelBytes()).toBeLessThanOrEqual(1.1)
  })

  test('go on when the one that downloads is stopped: another takes over', async () => {
    const children = await addEverywhere(['a', 'b'])
    const begun = await Promise.any(children.map((child) => untilDownloading(child, 100_000)))
    const [other] = children.filter((child) => child !== begun)
    begun.kill('SIGINT')
    expect(await begun.exited).toBe(130)
    expect(await other!.event('context-added', 60_000)).toMatchObject({ from: 'hub' })
  })

  async function untilDownloading(child: HearthProcess, atLeast: number): Promise<HearthProcess> {
    await child.event('download', 60_000, ({ bytes }) => Number(bytes) >= atLeast)
    return child
  }
})
