import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { CHUNK_BYTES, FETCHES_MAX } from '../../../src/base/limits.ts'
import type { FetchProgress } from '../../../src/context-sharing/context-sharing.ts'
import type { ContextStore } from '../../../src/context-sharing/store/context-store.ts'
import type { HeldContext } from '../../../src/context-sharing/store/held-context.ts'
import {
  Closers,
  honestChunk,
  modelFiles,
  openStore,
  sendChunk,
  startHolder,
  startPeers,
  storedFiles,
  writeFiles,
} from '../../../testing/sharing-peers.ts'
import { introduceNodes } from '../../../testing/libp2p-pair.ts'
import { until } from '../../../testing/libp2p-swarm.ts'

const closers = new Closers()
afterEach(() => closers.run())

/** A store with one context of about `mebibytes`, and what is held of it. */
async function seedStore(
  mebibytes: number,
): Promise<{ store: ContextStore; contextId: string; context: HeldContext }> {
  const store = await openStore(closers)
  const folder = await writeFiles(
    await closers.temporaryFolder(),
    modelFiles('seed', mebibytes * CHUNK_BYTES + 77),
  )
  const { contextId } = await store.import(folder)
  const context = store.held(contextId)
  if (context === undefined) throw new Error('not imported')
  return { store, contextId, context }
}

describe('a fetch', () => {
  it('makes the same files, byte for byte, and says how far it is and from whom', async () => {
    const seed = await seedStore(4)
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [seed.store] })
    fetcher!.holders = [holder!.id]
    const tiers: string[] = []
    fetcher!.store.onChange((_contextId, tier) => tiers.push(tier.kind))
    const progress: FetchProgress[] = []
    const result = await fetcher!.sharing.fetch(seed.contextId, { onProgress: (each) => progress.push(each) })

    expect(await storedFiles(fetcher!.store, seed.contextId)).toEqual(
      await storedFiles(seed.store, seed.contextId),
    )
    expect(result).toMatchObject({ bytesTotal: seed.context.bytesTotal, bytesReused: 0 })
    expect(result.sources).toMatchObject([{ peer: holder!.id, bytes: seed.context.bytesTotal }])
    expect(progress.at(-1)).toMatchObject({ bytesDone: result.bytesTotal, bytesTotal: result.bytesTotal })
    const decided = fetcher!.decisions.of(seed.contextId).map(({ code, peer }) => [code, peer])
    expect(decided.slice(0, 2)).toEqual([
      ['fetch-begun', undefined],
      ['source-chosen', holder!.id],
    ])
    expect(decided.at(-1)).toEqual(['fetch-complete', undefined])
    expect(tiers[0]).toBe('partial')
    expect(tiers.at(-1)).toBe('stored')
    expect(fetcher!.store.tier(seed.contextId)).toEqual({ kind: 'stored' })
  })

  it('among four peers draws on those that fetch the same', async () => {
    const seed = await seedStore(9)
    const [holder, ...fetchers] = await startPeers(closers, 4, { stores: [seed.store] })
    for (const fetcher of fetchers) fetcher.holders = [holder!.id]
    const results = await Promise.all(fetchers.map(({ sharing }) => sharing.fetch(seed.contextId)))
    for (const fetcher of fetchers) expect(fetcher.store.tier(seed.contextId).kind).toBe('stored')
    const fromSeed = results.flatMap(({ sources }) => sources.filter(({ peer }) => peer === holder!.id))
    const seedBytes = fromSeed.reduce((sum, { bytes }) => sum + bytes, 0)
    expect(seedBytes).toBeLessThan(3 * seed.context.bytesTotal)
    for (const { sources, bytesTotal } of results) {
      expect(sources.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(bytesTotal)
    }
  })

  it('fetches a file that another context has too only once', async () => {
    const store = await openStore(closers)
    const files = modelFiles('shared', 3 * CHUNK_BYTES)
    const first = await store.import(await writeFiles(await closers.temporaryFolder(), files))
    const second = await store.import(
      await writeFiles(await closers.temporaryFolder(), {
        ...files,
        'config.json': '{"model_type":"other"}',
      }),
    )
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [store] })
    fetcher!.holders = [holder!.id]
    await fetcher!.sharing.fetch(first.contextId)
    const result = await fetcher!.sharing.fetch(second.contextId)
    expect(result.sources).toMatchObject([{ bytes: '{"model_type":"other"}'.length }])
    expect(result.bytesReused + '{"model_type":"other"}'.length).toBe(result.bytesTotal)
  })

  it('of a context that is stored returns at once, without asking anybody', async () => {
    const seed = await seedStore(1)
    const [peer] = await startPeers(closers, 1, { stores: [seed.store] })
    expect(await peer!.sharing.fetch(seed.contextId)).toMatchObject({
      sources: [],
      bytesReused: seed.context.bytesTotal,
    })
  })

  it('is shared by all who ask for the context, and goes on when one of them aborts', async () => {
    const seed = await seedStore(4)
    const holder = await startHolder(closers, seed.context, {})
    const [fetcher] = await startPeers(closers, 1)
    await introduceNodes([fetcher!.node, holder.node])
    fetcher!.holders = [holder.id]
    const stop = new AbortController()
    const aborted = fetcher!.sharing.fetch(seed.contextId, { signal: stop.signal })
    const kept = fetcher!.sharing.fetch(seed.contextId)
    stop.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    await kept
    expect(holder.requested.toSorted((left, right) => left - right)).toEqual(
      Array.from({ length: seed.context.map.count }, (_value, chunk) => chunk),
    )
  })

  it('is raised when it begins to matter more: a spare copy for which a request waits is one no more', async () => {
    const seed = await seedStore(4)
    const held = Promise.withResolvers<void>()
    const holder = await startHolder(closers, seed.context, {
      onRequest: async (stream, chunk, context) => {
        if (holder.priorities.at(-1) === 'background') await held.promise
        else await sendChunk(stream, chunk, await honestChunk(context, chunk))
      },
    })
    const [fetcher] = await startPeers(closers, 1)
    await introduceNodes([fetcher!.node, holder.node])
    fetcher!.holders = [holder.id]
    const spare = fetcher!.sharing.fetch(seed.contextId, { priority: 'background' })
    await until('chunks are asked for', () => holder.requested.length > 0)
    const wanted = fetcher!.sharing.fetch(seed.contextId, { priority: 'urgent' })
    await Promise.all([spare, wanted])
    held.resolve()
    expect(holder.priorities.filter((priority) => priority !== 'normal')).toEqual(['background', 'urgent'])
  })

  it('waits for its turn when as many run as may', async () => {
    const store = await openStore(closers)
    const [fetcher] = await startPeers(closers, 1)
    const gate = Promise.withResolvers<void>()
    const allAsked = Promise.withResolvers<void>()
    const asked = new Set<string>()
    const ids: string[] = []
    for (let index = 0; index < FETCHES_MAX + 2; index += 1) {
      const folder = await writeFiles(await closers.temporaryFolder(), modelFiles(`turn ${index}`, 9000))
      const { contextId } = await store.import(folder)
      const holder = await startHolder(closers, store.held(contextId)!, {
        async onRequest(stream, chunk, context) {
          if (asked.add(contextId).size === FETCHES_MAX) allAsked.resolve()
          await gate.promise
          await sendChunk(stream, chunk, await honestChunk(context, chunk))
        },
      })
      await introduceNodes([fetcher!.node, holder.node])
      fetcher!.holdersOf.set(contextId, [holder.id])
      ids.push(contextId)
    }
    const fetches = ids.map((id) => fetcher!.sharing.fetch(id))
    await allAsked.promise
    expect([...asked].sort()).toEqual(ids.slice(0, FETCHES_MAX).sort())
    for (const id of ids.slice(FETCHES_MAX)) expect(fetcher!.store.held(id)).toBeUndefined()
    gate.resolve()
    await Promise.all(fetches)
    for (const id of ids) expect(fetcher!.store.tier(id)).toEqual({ kind: 'stored' })
  })

  it('works again after stop and start', async () => {
    const seed = await seedStore(1)
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [seed.store] })
    fetcher!.holders = [holder!.id]
    for (const { sharing } of [holder!, fetcher!]) {
      await sharing.stop()
      await sharing.start()
    }
    await fetcher!.sharing.fetch(seed.contextId)
    expect(fetcher!.store.tier(seed.contextId).kind).toBe('stored')
  })
})

describe('what a holder sends', () => {
  it('ends with its bytes of the month, and the log says why', async () => {
    const seed = await seedStore(6)
    const [holder] = await startPeers(closers, 1, { stores: [seed.store], uploadMonthBytes: 3 * CHUNK_BYTES })
    const [fetcher] = await startPeers(closers, 1, { unavailableAfterMs: 1500 })
    await introduceNodes([holder!.node, fetcher!.node])
    fetcher!.holders = [holder!.id]
    await expect(fetcher!.sharing.fetch(seed.contextId)).rejects.toMatchObject({
      code: 'context-unavailable',
    })
    const sent = fetcher!.store.held(seed.contextId)!.heldBytes
    expect(sent).toBeGreaterThan(0)
    expect(sent).toBeLessThanOrEqual(3 * CHUNK_BYTES)
    expect(holder!.decisions.of(seed.contextId)).toContainEqual(
      expect.objectContaining({ code: 'upload-refused', peer: fetcher!.id }),
    )
    expect(holder!.store.memory.upload.bytes).toBe(3 * CHUNK_BYTES)
  })

  it('keeps to its cap, whatever is asked, and says what the fetch matters', async () => {
    const seed = await seedStore(3)
    const [holder] = await startPeers(closers, 1, { stores: [seed.store], uploadRate: 40 * CHUNK_BYTES })
    const [fetcher] = await startPeers(closers, 1)
    await introduceNodes([holder!.node, fetcher!.node])
    fetcher!.holders = [holder!.id]
    const spare = fetcher!.sharing.fetch(seed.contextId, { priority: 'background' })
    await Promise.all([spare, fetcher!.sharing.fetch(seed.contextId, { priority: 'urgent' })])
    expect(holder!.sharing.uploadCapBytesPerSecond).toBe(40 * CHUNK_BYTES)
    const [begun] = fetcher!.decisions.of(seed.contextId)
    expect(begun).toMatchObject({ code: 'fetch-begun', words: expect.stringMatching(/priority is urgent$/) })
    expect(await storedFiles(fetcher!.store, seed.contextId)).toEqual(
      await storedFiles(seed.store, seed.contextId),
    )
  })
})

describe('a fetch from holders that fail', () => {
  it('bans one that sends corrupt chunks, takes them from another, and keeps no bad byte', async () => {
    const seed = await seedStore(7)
    const liar = await startHolder(closers, seed.context, {
      async onRequest(stream, chunk, context) {
        const bytes = (await honestChunk(context, chunk)).slice()
        bytes[0] = (bytes[0] ?? 0) ^ 1
        await sendChunk(stream, chunk, bytes)
      },
    })
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [seed.store] })
    await introduceNodes([holder!.node, fetcher!.node, liar.node])
    fetcher!.holders = [liar.id, holder!.id]
    const result = await fetcher!.sharing.fetch(seed.contextId)
    expect(await storedFiles(fetcher!.store, seed.contextId)).toEqual(
      await storedFiles(seed.store, seed.contextId),
    )
    expect(result.sources.map(({ peer }) => peer)).toEqual([holder!.id])
    expect(liar.requested.length).toBeLessThanOrEqual(4)

    const opened = liar.opened
    const other = await seed.store.import(
      await writeFiles(await closers.temporaryFolder(), modelFiles('another', CHUNK_BYTES)),
    )
    await fetcher!.sharing.fetch(other.contextId)
    expect(liar.opened).toBe(opened)
  })

  it('goes on with another when one dies midway', async () => {
    const seed = await seedStore(7)
    let served = 0
    const mortal = await startHolder(closers, seed.context, {
      async onRequest(stream, chunk, context) {
        served += 1
        if (served === 3) return stream.abort(new Error('dead'))
        await sendChunk(stream, chunk, await honestChunk(context, chunk))
      },
    })
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [seed.store] })
    await introduceNodes([holder!.node, fetcher!.node, mortal.node])
    fetcher!.holders = [mortal.id, holder!.id]
    const result = await fetcher!.sharing.fetch(seed.contextId)
    expect(result.sources.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(result.bytesTotal)
  })

  it('says why when all are gone, keeps what came, and fetches only the rest later', async () => {
    const seed = await seedStore(8)
    let served = 0
    const mortal = await startHolder(closers, seed.context, {
      async onRequest(stream, chunk, context) {
        served += 1
        if (served > 5) return stream.abort(new Error('dead'))
        await sendChunk(stream, chunk, await honestChunk(context, chunk))
      },
    })
    const [fetcher] = await startPeers(closers, 1, { unavailableAfterMs: 700 })
    await introduceNodes([fetcher!.node, mortal.node])
    fetcher!.holders = [mortal.id]
    await expect(fetcher!.sharing.fetch(seed.contextId)).rejects.toMatchObject({
      code: 'context-unavailable',
      message: expect.stringMatching(/chunks are missing; \d of 1 peers.*are kept/),
    })
    const tier = fetcher!.store.tier(seed.contextId)
    expect(tier).toMatchObject({ kind: 'partial' })
    expect(fetcher!.store.held(seed.contextId)?.held.count).toBe(5)

    const whole = await startHolder(closers, seed.context, {})
    await introduceNodes([fetcher!.node, whole.node])
    fetcher!.holders = [whole.id]
    await fetcher!.sharing.fetch(seed.contextId)
    expect(whole.requested).toHaveLength(seed.context.map.count - 5)
  })

  it('gets from a partial holder what that has', async () => {
    const seed = await seedStore(6)
    const partial = await openStore(closers)
    const held = await partial.begin(seed.contextId, seed.context.manifestBytes)
    for (const chunk of [0, 3, 5]) await held.write(chunk, await honestChunk(seed.context, chunk))
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [partial], unavailableAfterMs: 700 })
    fetcher!.holders = [holder!.id]
    await expect(fetcher!.sharing.fetch(seed.contextId)).rejects.toMatchObject({
      code: 'context-unavailable',
    })
    expect([...(fetcher!.store.held(seed.contextId)?.held ?? [])]).toEqual([0, 3, 5])
  })

  it('hears of chunks as a partial holder gains them', async () => {
    const seed = await seedStore(6)
    const partial = await openStore(closers)
    const held = await partial.begin(seed.contextId, seed.context.manifestBytes)
    await held.write(0, await honestChunk(seed.context, 0))
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [partial] })
    fetcher!.holders = [holder!.id]
    const fetching = fetcher!.sharing.fetch(seed.contextId)
    for (let chunk = 1; chunk < seed.context.map.count; chunk += 1) {
      await held.write(chunk, await honestChunk(seed.context, chunk))
    }
    await fetching
    expect(fetcher!.store.tier(seed.contextId).kind).toBe('stored')
  })

  it('gets nothing damaged from a holder whose disk is, and that holder stops claiming it', async () => {
    const seed = await seedStore(3)
    const path = join(seed.store.folder(seed.contextId), 'onnx/model.onnx_data')
    const data = await open(path, 'r+')
    await data.write(Uint8Array.of(1, 2, 3), 0, 3, CHUNK_BYTES + 9)
    await data.close()
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [seed.store], unavailableAfterMs: 700 })
    fetcher!.holders = [holder!.id]
    await expect(fetcher!.sharing.fetch(seed.contextId)).rejects.toMatchObject({
      code: 'context-unavailable',
    })
    expect(holder!.store.tier(seed.contextId)).toMatchObject({ kind: 'partial' })
    expect(fetcher!.store.tier(seed.contextId)).toMatchObject({ kind: 'partial' })
  })

  it('says that the disk is full, and keeps what fitted', async () => {
    const seed = await seedStore(4)
    let left = 2 * CHUNK_BYTES + 9000
    const full = await openStore(closers, {
      writable: (file) => ({
        async write(bytes, offset, length, position) {
          if (left < length) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
          left -= length
          return await file.write(bytes, offset, length, position)
        },
      }),
    })
    const [holder, fetcher] = await startPeers(closers, 2, { stores: [seed.store, full] })
    fetcher!.holders = [holder!.id]
    await expect(fetcher!.sharing.fetch(seed.contextId)).rejects.toMatchObject({ code: 'disk-full' })
    expect(full.tier(seed.contextId)).toMatchObject({ kind: 'partial' })
    left = Number.MAX_SAFE_INTEGER
    const result = await fetcher!.sharing.fetch(seed.contextId)
    expect(result.bytesReused).toBeGreaterThan(0)
    expect(await storedFiles(full, seed.contextId)).toEqual(await storedFiles(seed.store, seed.contextId))
  })

  it('fails when nobody is known, with what to do', async () => {
    const [fetcher] = await startPeers(closers, 1, { unavailableAfterMs: 300 })
    const { contextId } = await seedStore(1)
    await expect(fetcher!.sharing.fetch(contextId)).rejects.toMatchObject({
      code: 'context-unavailable',
      message: expect.stringContaining('no known peer has it'),
    })
  })

  it('keeps its progress when nobody waits for it any more', async () => {
    const seed = await seedStore(6)
    const stop = new AbortController()
    const holder = await startHolder(closers, seed.context, {
      async onRequest(stream, chunk, context) {
        await sendChunk(stream, chunk, await honestChunk(context, chunk))
      },
    })
    const [fetcher] = await startPeers(closers, 1)
    await introduceNodes([fetcher!.node, holder.node])
    fetcher!.holders = [holder.id]
    fetcher!.store.onChange((contextId) => {
      if ((fetcher!.store.held(contextId)?.held.count ?? 0) >= 3) stop.abort(new Error('not needed'))
    })
    await expect(fetcher!.sharing.fetch(seed.contextId, { signal: stop.signal })).rejects.toThrow(
      'not needed',
    )
    expect(fetcher!.store.tier(seed.contextId)).toMatchObject({ kind: 'partial' })
  })
})
