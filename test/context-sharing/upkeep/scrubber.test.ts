import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import { CHUNK_BYTES } from '../../../src/base/limits.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { nextToScrub, scrubWaitMs } from '../../../src/context-sharing/upkeep/core/scrub.ts'
import { Scrubber } from '../../../src/context-sharing/upkeep/scrubber.ts'
import {
  Closers,
  modelBytes,
  openStore,
  startPeers,
  storedFiles,
  writeFiles,
} from '../../../testing/sharing-peers.ts'

const closers = new Closers()
afterEach(() => closers.run())

const FILES = { 'model.onnx': modelBytes('scrubbed', 6 * CHUNK_BYTES) }

/** Turns a byte of the model around, on disk, under the store. */
async function damage(folder: string, chunk: number): Promise<void> {
  const file = await open(join(folder, 'model.onnx'), 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, chunk * CHUNK_BYTES + 77)
  byte[0] = byte[0]! ^ 0xff
  await file.write(byte, 0, 1, chunk * CHUNK_BYTES + 77)
  await file.close()
}

describe('which chunk is next', () => {
  const files = [
    { key: 'b', chunks: 2 },
    { key: 'd', chunks: 1 },
  ]
  it.each([
    ['before any pass', { file: '', chunk: 0 }, 'b', 0],
    ['in a file', { file: 'b', chunk: 1 }, 'b', 1],
    ['after a file', { file: 'b', chunk: 2 }, 'd', 0],
    ['after a file that is gone', { file: 'c', chunk: 7 }, 'd', 0],
    ['after the last file', { file: 'd', chunk: 1 }, 'b', 0],
  ])('%s', (_when, position, key, chunk) => {
    expect(nextToScrub(files, position)).toMatchObject({ file: { key }, chunk })
  })

  it('is none in an empty store, and is waited for within bounds', () => {
    expect(nextToScrub([], { file: '', chunk: 0 })).toBeUndefined()
    expect([0, 30_000, 10_000_000].map(scrubWaitMs)).toEqual([60_000, 40_320, 1000])
  })
})

describe('a scrub', () => {
  it('finds what the disk changed; that is not claimed any more, and it alone is fetched again', async () => {
    const seed = await openStore(closers)
    const { contextId } = await seed.import(await writeFiles(await closers.temporaryFolder(), FILES))
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [seed] })
    const { store, sharing } = fetcher!
    fetcher!.holders = [holder!.id]
    await sharing.fetch(contextId)
    await damage(store.folder(contextId), 2)
    const tiers: string[] = []
    const isMended = Promise.withResolvers<void>()
    store.onChange((_id, tier) => {
      tiers.push(tier.kind)
      if (tier.kind === 'stored') isMended.resolve()
    })
    expect(await sharing.scrub([contextId], {})).toEqual({ chunksDone: 6, chunksTotal: 6, chunksBad: 1 })
    await isMended.promise
    expect(tiers[0]).toBe('partial')
    expect(await storedFiles(store, contextId)).toEqual(await storedFiles(seed, contextId))
    const { code, words } = fetcher!.decisions.of(contextId).findLast(({ by }) => by === 'download')!
    expect([code, words]).toEqual([
      'fetch-complete',
      `${CHUNK_BYTES} bytes from 1 peers, ${5 * CHUNK_BYTES} bytes already here`,
    ])
    expect(await sharing.scrub([contextId], {})).toMatchObject({ chunksBad: 0 })
  })

  it('of a file in progress drops what is damaged, and the rest stays held after a restart', async () => {
    const seed = await openStore(closers)
    const { contextId } = await seed.import(await writeFiles(await closers.temporaryFolder(), FILES))
    const context = seed.held(contextId)!
    const folder = await closers.temporaryFolder()
    const store = await openStore(closers, {}, folder)
    const partial = await store.begin(contextId, context.manifestBytes)
    for (const chunk of [0, 1, 2, 3]) await partial.write(chunk, (await context.read(chunk))!)
    store.room.rest(contextId)
    const part = await open(join(folder, 'parts', partial.gridKeys()[0]!), 'r+')
    await part.write(Buffer.from('damaged'), 0, 7, CHUNK_BYTES + 5)
    await part.close()
    const found = Promise.withResolvers<number>()
    store.onDamage = ({ chunks }) => found.resolve(chunks)
    const { clock } = handClock()
    await new Scrubber({ store, clock, log: silentLogger }).run([contextId])
    expect(await found.promise).toBe(1)
    expect([...store.held(contextId)!.held]).toEqual([0, 2, 3])
    await store.close()
    const again = await openStore(closers, {}, folder)
    expect([...again.held(contextId)!.held]).toEqual([0, 2, 3])
  })

  it('goes on in the background where it was before a restart', async () => {
    const folder = await closers.temporaryFolder()
    const store = await openStore(closers, {}, folder)
    await store.import(await writeFiles(await closers.temporaryFolder(), FILES))
    const { clock, runNext } = handClock()
    const scrubber = new Scrubber({ store, clock, log: silentLogger })
    scrubber.start()
    const scrubbed = (): number => {
      if (store.memory.scrub.chunk < 2) runNext()
      return store.memory.scrub.chunk
    }
    await expect.poll(scrubbed).toBe(2)
    scrubber.stop()
    await store.close()
    const again = await openStore(closers, {}, folder)
    expect(again.memory.scrub.chunk).toBe(2)
  })
})

/** A clock whose timer runs when it is told to, once there is one. */
function handClock(): { clock: Clock; runNext: () => void } {
  const timers: (() => void)[] = []
  const clock: Clock = {
    nowMs: () => 0,
    wallMs: () => 0,
    schedule(_delayMs, run) {
      timers.push(run)
      return () => timers.splice(timers.indexOf(run), 1)
    },
  }
  return { clock, runNext: () => timers.shift()?.() }
}
