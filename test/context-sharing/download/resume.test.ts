import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, describe, expect, it } from 'vitest'
import { CHUNK_BYTES } from '../../../src/base/limits.ts'
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

const closers = new Closers()
afterEach(() => closers.run())

/** What the journals claim of the context is right on disk, and all that was told of is claimed. */
async function expectTrueToDisk(folder: string, contextId: string, told: Set<number>): Promise<void> {
  const store = await openStore(closers, {}, folder)
  const context = store.held(contextId)!
  expect([...told].filter((chunk) => !context.held.has(chunk))).toEqual([])
  for (const chunk of context.held) expect(await context.check(chunk)).toBe(true)
  await store.close()
}

/** Runs the child until it holds `count` chunks, then kills it with SIGKILL; the chunks it said it holds. */
async function fetchAndDie(
  folder: string,
  contextId: string,
  holder: string,
  count: number,
): Promise<Set<number>> {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, '../../../testing/fetch-child.ts'), folder, contextId, holder],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  closers.add(async () => child.kill('SIGKILL'))
  const held = new Set<number>()
  for await (const line of createInterface({ input: child.stdout })) {
    const [, chunk] = /^held (\d+)$/.exec(line) ?? []
    if (chunk !== undefined) held.add(Number(chunk))
    if (held.size === count) child.kill('SIGKILL')
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  expect(child.signalCode).toBe('SIGKILL')
  return held
}

describe('after kill -9 in the middle of a fetch', () => {
  it('no chunk that was held is fetched again, and the files are right', async () => {
    const seed = await openStore(closers)
    const { contextId } = await seed.import(
      await writeFiles(await closers.temporaryFolder(), modelFiles('killed', 24 * CHUNK_BYTES + 5)),
    )
    const context = seed.held(contextId)!
    const holder = await startHolder(closers, context, {
      async onRequest(stream, chunk, of) {
        await sendChunk(stream, chunk, await honestChunk(of, chunk))
      },
    })
    const folder = join(await closers.temporaryFolder(), 'contexts')
    const address = holder.node.address
    const first = await fetchAndDie(folder, contextId, address, 6)
    await expectTrueToDisk(folder, contextId, first)
    holder.requested.length = 0
    const second = await fetchAndDie(folder, contextId, address, first.size + 7)
    expect(holder.requested.filter((chunk) => first.has(chunk))).toEqual([])
    await expectTrueToDisk(folder, contextId, second)

    holder.requested.length = 0
    const store = await openStore(closers, {}, folder)
    expect(store.tier(contextId)).toMatchObject({ kind: 'partial' })
    const [fetcher] = await startPeers(closers, 1, { stores: [store] })
    await introduceNodes([fetcher!.node, holder.node])
    fetcher!.holders = [holder.id]
    const result = await fetcher!.sharing.fetch(contextId)
    expect(holder.requested.filter((chunk) => second.has(chunk))).toEqual([])
    expect(result.bytesReused).toBeGreaterThanOrEqual((second.size - 5) * CHUNK_BYTES)
    expect(await storedFiles(store, contextId)).toEqual(await storedFiles(seed, contextId))
  })
})
