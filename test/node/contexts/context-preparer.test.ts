import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { CHUNK_BYTES } from '../../../src/base/limits.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import type { EngineResult } from '../../../src/inference/contract/engine.ts'
import { ContextPreparer, type WarmPool } from '../../../src/node/contexts/context-preparer.ts'
import type { RunResult } from '../../../src/tasks/worker/worker.ts'
import {
  Closers,
  modelFiles,
  openStore,
  startPeers,
  writeFiles,
  type SharingPeer,
} from '../../../testing/sharing-peers.ts'

const closers = new Closers()
afterEach(() => closers.run())

const FILES = modelFiles('prepared', 3 * CHUNK_BYTES)
const PATHS = Object.keys(FILES).filter((path) => path !== 'README.md')
const OPTIONS = { signal: new AbortController().signal, onProgress: (): void => {} }
const NO_NUMBERS: EngineResult = {
  ok: false,
  statusCode: 400,
  error: { code: 'request-invalid', message: 'NaN', doubtsWeights: true },
}

/** Two peers that have the same context on disk; the first prepares it. */
class Pair {
  readonly contextId: string
  readonly peer: SharingPeer
  readonly preparer: ContextPreparer
  /** What the engine found wrong in the files that it loaded. */
  readonly wrongFiles: string[] = []

  static async start(): Promise<Pair> {
    const peers = await startPeers(closers, 2)
    const folder = await writeFiles(await closers.temporaryFolder(), FILES)
    const [contextId] = await Promise.all(
      peers.map(async ({ store }) => (await store.import(folder)).contextId),
    )
    peers[0]!.holders = [peers[1]!.id]
    return new Pair(peers[0]!, contextId!)
  }

  private constructor(peer: SharingPeer, contextId: string) {
    const { store, sharing } = peer
    this.peer = peer
    this.contextId = contextId
    const warm: WarmPool = {
      acquire: async (_contextId, loaded) => {
        for (const path of PATHS) {
          const bytes = await readFile(join(loaded, path))
          if (!bytes.equals(Buffer.from(FILES[path]!))) this.wrongFiles.push(path)
        }
        return { facts: { loadMs: 1, slots: 1 }, release: () => {} }
      },
      borrow: () => ({ host: { run: async () => NO_NUMBERS }, release: () => {} }),
      evict: async () => true,
    }
    this.preparer = new ContextPreparer({
      clock: systemClock,
      store,
      sharing,
      warm,
      nameInSwarm: () => undefined,
    })
  }

  /** Turns the last byte of a file around, on disk. */
  async damage(path: string): Promise<void> {
    const file = await open(join(this.peer.store.folder(this.contextId), path), 'r+')
    const { size } = await file.stat()
    const byte = Buffer.alloc(1)
    await file.read(byte, 0, 1, size - 1)
    byte[0] = byte[0]! ^ 0xff
    await file.write(byte, 0, 1, size - 1)
    await file.close()
  }

  async run(): Promise<RunResult> {
    const context = await this.preparer.prepare(this.contextId, OPTIONS)
    return await context.run({ url: '/v1/completions', body: '{}' }, OPTIONS)
  }
}

describe('a context that a job wants', () => {
  test.each(PATHS)(
    'whose %s the disk has damaged is fetched again before an engine loads it',
    async (path) => {
      const pair = await Pair.start()
      await pair.damage(path)
      await pair.preparer.prepare(pair.contextId, OPTIONS)
      expect(pair.wrongFiles).toEqual([])
      expect(pair.peer.damaged).toEqual([pair.contextId])
    },
  )

  test('whose manifest is damaged is fetched again', async () => {
    const folder = join(await closers.temporaryFolder(), 'contexts')
    const first = await openStore(closers, {}, folder)
    const model = await writeFiles(await closers.temporaryFolder(), FILES)
    const { contextId } = await first.import(model)
    await first.close()
    await writeFiles(folder, { [`manifests/${contextId}`]: 'damaged' })
    const stores = [await openStore(closers, {}, folder)]
    const [peer, holder] = await startPeers(closers, 2, { stores })
    await holder!.store.import(model)
    peer!.holders = [holder!.id]
    expect(peer!.store.tier(contextId).kind).toBe('absent')
    await peer!.sharing.fetch(contextId)
    expect(peer!.store.tier(contextId).kind).toBe('stored')
  })

  test('is hashed again when its results are no numbers: damaged weights are no error of the request', async () => {
    const pair = await Pair.start()
    const context = await pair.preparer.prepare(pair.contextId, OPTIONS)
    await pair.damage('onnx/model.onnx_data')
    const request = { url: '/v1/completions', body: '{}' }
    await expect(context.run(request, OPTIONS)).rejects.toMatchObject({ code: 'engine-failed' })
    expect(pair.peer.damaged).toEqual([pair.contextId])
    const { outcome, body } = await pair.run()
    expect([outcome, JSON.parse(body)]).toEqual(['bad-request', { code: 'request-invalid', message: 'NaN' }])
    expect(pair.wrongFiles).toEqual([])
  })
})
