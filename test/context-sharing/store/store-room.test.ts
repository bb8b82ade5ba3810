import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { CHUNK_BYTES } from '../../../src/base/limits.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { Collector } from '../../../src/context-sharing/upkeep/collector.ts'
import type { ContextStore } from '../../../src/context-sharing/store/context-store.ts'
import type { DropAdvice } from '../../../src/context-sharing/store/copies.ts'
import { DecisionLog } from '../../../src/context-sharing/history/decisions.ts'
import type { WritableAt } from '../../../src/context-sharing/disk/disk.ts'
import {
  Closers,
  modelBytes,
  modelFiles,
  openStore,
  startPeers,
  storedFiles,
  writeFiles,
} from '../../../testing/sharing-peers.ts'

const closers = new Closers()
afterEach(() => closers.run())

const MIB = CHUNK_BYTES
const ENOUGH: DropAdvice = { may: true, others: 3 }

const folderOf = async (seed: string, mebibytes: number): Promise<string> =>
  await writeFiles(await closers.temporaryFolder(), { 'model.onnx': modelBytes(seed, mebibytes * MIB) })

/** Imports a context that its owner does not insist on. */
async function imported(store: ContextStore, seed: string, mebibytes: number): Promise<string> {
  const { contextId } = await store.import(await folderOf(seed, mebibytes), { name: seed })
  await store.memory.setPinned(contextId, false)
  return contextId
}

function collectorOf(
  store: ContextStore,
  options: { mayDrop?: (contextId: string) => DropAdvice; inUse?: string[] } = {},
): { collector: Collector; decisions: DecisionLog } {
  const decisions = new DecisionLog(systemClock)
  const collector = new Collector({
    store,
    copies: { mayDrop: options.mayDrop ?? (() => ENOUGH) },
    whyInUse: (contextId) => (options.inUse?.includes(contextId) === true ? 'it is loaded' : undefined),
    decisions,
    clock: systemClock,
    log: silentLogger,
  })
  collector.start()
  closers.add(() => collector.stop())
  return { collector, decisions }
}

const codesOf = (decisions: DecisionLog, contextId: string): string[] =>
  decisions.of(contextId).map(({ code }) => code)

describe('a store with a quota', () => {
  it('drops what is worth least for what is new, and says why', async () => {
    const store = await openStore(closers)
    await store.room.setBounds({ quotaBytes: 10 * MIB })
    const old = await imported(store, 'old', 4)
    const newer = await imported(store, 'newer', 4)
    const { decisions } = collectorOf(store)
    const newest = await imported(store, 'newest', 4)
    expect(
      store
        .list()
        .map(({ contextId }) => contextId)
        .sort(),
    ).toEqual([newer, newest].sort())
    expect(codesOf(decisions, old)).toEqual(['collected'])
    expect((await store.room.usage()).usedBytes).toBe(8 * MIB)
  })

  it('refuses what would cost a pin, a use, or what may be the last copy', async () => {
    const store = await openStore(closers)
    await store.room.setBounds({ quotaBytes: 13 * MIB })
    const { contextId: pinned } = await store.import(await folderOf('pinned', 4))
    const used = await imported(store, 'used', 4)
    const last = await imported(store, 'last', 4)
    const { decisions } = collectorOf(store, {
      inUse: [used],
      mayDrop: (contextId) => (contextId === last ? { may: false, others: 0 } : ENOUGH),
    })
    await expect(store.import(await folderOf('new', 4))).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringContaining('--store-quota'),
    })
    expect(store.list().map(({ tier }) => tier.kind)).toEqual(['stored', 'stored', 'stored'])
    for (const contextId of [pinned, used, last]) expect(codesOf(decisions, contextId)).toEqual(['kept'])
    expect(decisions.of(last)[0]?.words).toContain('last copy')
  })

  it('remembers its bounds, and keeps room for a download that is under way', async () => {
    const folder = await closers.temporaryFolder()
    const seed = await openStore(closers)
    const contextId = await imported(seed, 'seed', 6)
    const store = await openStore(closers, {}, folder)
    await store.room.setBounds({ quotaBytes: 10 * MIB })
    await store.begin(contextId, seed.held(contextId)!.manifestBytes)
    expect((await store.room.usage()).usedBytes).toBe(6 * MIB)
    await expect(store.import(await folderOf('other', 6))).rejects.toMatchObject({ code: 'disk-full' })
    store.room.rest(contextId)
    await store.close()
    const again = await openStore(closers, {}, folder)
    expect(await again.room.usage()).toMatchObject({ quotaBytes: 10 * MIB, usedBytes: 0 })
  })

  it('drops parts as well as whole contexts', async () => {
    const seed = await openStore(closers)
    const contextId = await imported(seed, 'seed', 6)
    const context = seed.held(contextId)!
    const store = await openStore(closers)
    await store.room.setBounds({ quotaBytes: 8 * MIB })
    const partial = await store.begin(contextId, context.manifestBytes)
    for (const chunk of [0, 1, 2]) await partial.write(chunk, (await context.read(chunk))!)
    store.room.rest(contextId)
    const { decisions } = collectorOf(store)
    await store.import(await folderOf('whole', 7))
    expect(store.tier(contextId)).toEqual({ kind: 'absent' })
    expect(codesOf(decisions, contextId)).toEqual(['collected'])
  })
})

describe('"hearth context rm"', () => {
  it('keeps what is in use, and what may be the last copy, unless it is forced', async () => {
    const store = await openStore(closers)
    const [used, last, spare] = [
      await imported(store, 'used', 1),
      await imported(store, 'last', 1),
      await imported(store, 'spare', 1),
    ]
    const { collector } = collectorOf(store, {
      inUse: [used],
      mayDrop: (contextId) => ({ may: false, others: contextId === last ? 0 : 1 }),
    })
    await collector.remove(spare, { force: false })
    for (const [contextId, words] of [
      [used, 'it is loaded'],
      [last, 'last copy'],
    ] as const) {
      await expect(collector.remove(contextId, { force: false })).rejects.toMatchObject({
        code: 'context-kept',
        message: expect.stringContaining(words),
      })
      await collector.remove(contextId, { force: true })
    }
    expect(store.list()).toEqual([])
    await expect(collector.remove(spare, { force: true })).rejects.toMatchObject({ code: 'context-unknown' })
  })
})

describe('a disk that others fill', () => {
  it('ends a download in time, which loses nothing, and goes on when there is room', async () => {
    let freeBytes = 1000 * MIB
    const store = await openStore(closers, {
      freeSpace: async () => ({ freeBytes, totalBytes: 2000 * MIB }),
    })
    await store.room.setBounds({ keepFree: { share: 0.1 } })
    const seed = await openStore(closers)
    const contextId = await imported(seed, 'seed', 48)
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [seed, store] })
    fetcher!.holders = [holder!.id]
    store.onChange(() => {
      freeBytes = 150 * MIB
    })
    await expect(fetcher!.sharing.fetch(contextId)).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringContaining('verified chunks are kept'),
    })
    const heldBytes = store.held(contextId)!.heldBytes
    expect(heldBytes).toBeGreaterThan(0)
    await expect(fetcher!.sharing.fetch(contextId)).rejects.toMatchObject({ code: 'disk-full' })
    freeBytes = 1000 * MIB
    const before = store.held(contextId)!.heldBytes
    const result = await fetcher!.sharing.fetch(contextId)
    expect(result.bytesReused).toBe(before)
    expect(await storedFiles(store, contextId)).toEqual(await storedFiles(seed, contextId))
  })

  it('to the last byte loses nothing either, and says so', async () => {
    let roomBytes = 6 * MIB
    const store = await openStore(closers, {
      writable: (file) => limited(file, (bytes) => (roomBytes -= bytes) >= 0),
    })
    const seed = await openStore(closers)
    const contextId = await imported(seed, 'seed', 16)
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [seed, store] })
    fetcher!.holders = [holder!.id]
    await expect(fetcher!.sharing.fetch(contextId)).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringContaining('No room left'),
    })
    expect(fetcher!.decisions.of(contextId).at(-1)).toMatchObject({ code: 'fetch-failed' })
    const heldBytes = store.held(contextId)!.heldBytes
    expect(heldBytes).toBeGreaterThan(0)
    roomBytes = Infinity
    const result = await fetcher!.sharing.fetch(contextId)
    expect(result.bytesReused).toBe(heldBytes)
    expect(await storedFiles(store, contextId)).toEqual(await storedFiles(seed, contextId))
  })
})

/** A file on a disk that may run out of room. */
function limited(file: WritableAt, hasRoom: (bytes: number) => boolean): WritableAt {
  return {
    write(bytes, offset, length, position) {
      if (hasRoom(length)) return file.write(bytes, offset, length, position)
      return Promise.reject(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }))
    },
  }
}

describe('what is here already', () => {
  it('costs a second context only the bytes that are new', async () => {
    const shared = {
      'tokenizer.json': modelBytes('tokenizer', 3 * MIB + 5),
      'model.safetensors.index.json': '{}',
      'model-00001-of-00002.safetensors': tensors(64, 'first shard', 12 * MIB),
    }
    const seed = await openStore(closers)
    const one = await seed.import(
      await writeFiles(await closers.temporaryFolder(), {
        ...shared,
        'model-00002-of-00002.safetensors': tensors(64, 'second shard', 6 * MIB),
        'config.json': '{"n":1}',
      }),
    )
    const two = await seed.import(
      await writeFiles(await closers.temporaryFolder(), {
        ...shared,
        'model-00002-of-00002.safetensors': tensors(64, 'other shard', 6 * MIB),
        'config.json': '{"n":2}',
      }),
    )
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [seed] })
    fetcher!.holders = [holder!.id]
    await fetcher!.sharing.fetch(one.contextId)
    const result = await fetcher!.sharing.fetch(two.contextId)
    const fetched = result.sources.reduce((sum, { bytes }) => sum + bytes, 0)
    // The tensors of the other shard, and the config; not even the header, which is the same.
    expect(fetched).toBe(6 * MIB + 7)
    expect(codesOf(fetcher!.decisions, two.contextId)).toContain('found-locally')
  })

  it('is copied chunk by chunk from a file that differs in its header alone, and never trusted unread', async () => {
    const seed = await openStore(closers)
    const ids = []
    for (const headerBytes of [64, 640]) {
      const folder = await closers.temporaryFolder()
      const files = { 'model.safetensors': tensors(headerBytes, 'same tensors', 8 * MIB) }
      ids.push((await seed.import(await writeFiles(folder, files))).contextId)
    }
    const store = await openStore(closers)
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [seed, store] })
    fetcher!.holders = [holder!.id]
    await fetcher!.sharing.fetch(ids[0]!)
    const [blob] = await readdir(join(store.folder(ids[0]!), '../../blobs'))
    await flipByte(join(store.folder(ids[0]!), '../../blobs', blob!), 8 + 64 + 3 * MIB + 1)
    const result = await fetcher!.sharing.fetch(ids[1]!)
    const fetched = result.sources.reduce((sum, { bytes }) => sum + bytes, 0)
    // The other header, and the chunk that the disk has not right any more.
    expect(fetched).toBe(8 + 640 + MIB)
    expect(await storedFiles(store, ids[1]!)).toEqual(await storedFiles(seed, ids[1]!))
  })

  it('of ONNX external data is one grid from its first byte', async () => {
    const store = await openStore(closers)
    const { contextId } = await store.import(
      await writeFiles(await closers.temporaryFolder(), modelFiles('onnx', 3 * MIB)),
    )
    const data = store.held(contextId)!.manifest.files.find(({ path }) => path.endsWith('_data'))
    expect(data?.segments).toEqual([3 * MIB])
  })
})

function tensors(headerBytes: number, seed: string, dataBytes: number): Uint8Array {
  const bytes = new Uint8Array(8 + headerBytes + dataBytes)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerBytes), true)
  bytes.set(new TextEncoder().encode('{}'.padEnd(headerBytes, ' ')), 8)
  bytes.set(modelBytes(seed, dataBytes), 8 + headerBytes)
  return bytes
}

async function flipByte(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, at)
  byte[0] = byte[0]! ^ 0xff
  await file.write(byte, 0, 1, at)
  await file.close()
}

it('counts the bytes of other things, such as jobs, towards the quota', async () => {
  let jobs = 0
  const store = await openStore(closers, { otherBytes: () => Promise.resolve(jobs) })
  await store.room.setBounds({ quotaBytes: MIB })
  expect(await store.room.shortage(MIB / 2)).toBeUndefined()
  jobs = 0.75 * MIB
  expect((await store.room.usage()).usedBytes).toBe(jobs)
  expect(await store.room.shortage(MIB / 2)).toMatchObject({ limit: 'quota', bytes: MIB / 4 })
})
