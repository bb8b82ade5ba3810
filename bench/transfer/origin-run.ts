// Peers of a swarm that add the same model of a hub, all at once, each with `hearth up` and `hearth context add` as
// its owner would: how much of it is read from the hub?
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { HearthProcess } from '../../src/cli/terminal/child-process.ts'
import { HubServer } from '../../testing/hub-server.ts'

export interface OriginRunOptions {
  /** For data folders and caches; whoever calls removes it. */
  folder: string
  /** The model folder that the hub has, and which of its files. */
  model: string
  paths: readonly string[]
  peers: number
  /** The hub's rate to each downloader. */
  bytesPerSecond: number
}

export interface OriginOutcome {
  /** Bytes read from the hub over those of the model. */
  originShare: number
  /** From the commands to the last context. */
  seconds: number
  contextIds: string[]
}

const MODEL_NAME = 'bench/model'
const READY_MS = 120_000
const ADDED_MS = 300_000

export async function runOrigin(options: OriginRunOptions): Promise<OriginOutcome> {
  const { folder, model, paths, peers, bytesPerSecond } = options
  const files = Object.fromEntries(paths.map((path) => [path, readFileSync(join(model, path))]))
  const hub = await new HubServer({ name: MODEL_NAME, files, bytesPerSecond }).start()
  const running: HearthProcess[] = []
  const hearth = (parameters: string[], environment?: NodeJS.ProcessEnv): HearthProcess => {
    const child = new HearthProcess(parameters, environment)
    running.push(child)
    return child
  }
  const up = async (index: number, doors: readonly string[]): Promise<string> => {
    const data = ['--data', join(folder, `peer-${index}`)]
    const child = hearth(['up', ...data, '--listen', '/ip4/127.0.0.1/tcp/0', ...doors])
    const { addresses } = await child.event('ready', READY_MS)
    return (addresses as string[])[0] ?? ''
  }
  const add = async (index: number): Promise<string> => {
    const child = hearth(['context', 'add', `hf:${MODEL_NAME}`, '--data', join(folder, `peer-${index}`)], {
      ...process.env,
      HF_ENDPOINT: hub.url,
      HF_HOME: join(folder, `cache-${index}`),
    })
    return String((await child.event('context-added', ADDED_MS))['contextId'])
  }
  try {
    const door = await up(0, [])
    for (let index = 1; index < peers; index += 1) await up(index, ['--bootstrap', door])
    const beganMs = performance.now()
    const contextIds = await Promise.all(Array.from({ length: peers }, (_value, index) => add(index)))
    const seconds = (performance.now() - beganMs) / 1_000
    const bytes = Object.values(files).reduce((sum, { byteLength }) => sum + byteLength, 0)
    return { originShare: hub.bytesSent / bytes, seconds, contextIds }
  } finally {
    for (const child of running) child.kill('SIGKILL')
    await Promise.all(running.map(({ exited }) => exited))
    await hub.stop()
  }
}
