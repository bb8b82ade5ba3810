import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { askPeer } from '../../src/api/control-client.ts'
import type { ContextDetail } from '../../src/context-sharing/history/context-detail.ts'
import { TestSwarm, type RunningPeer } from '../../testing/process-swarm.ts'

let swarm: TestSwarm
beforeEach(async () => {
  swarm = await TestSwarm.create()
})
afterEach(() => swarm.dispose())

const detailOf = async (peer: RunningPeer): Promise<ContextDetail> =>
  await askPeer<ContextDetail>(peer.data.control()!, '/v0/contexts/facts')

test('Ctrl-C ends "context get", and what was verified by then is not fetched again', async () => {
  await swarm.importFacts('first')
  await swarm.up('first', '--upload-rate', '1MB')
  const second = await swarm.up('second', '--no-replicate')
  const get = (): ReturnType<TestSwarm['hearth']> =>
    swarm.hearth('context', 'get', 'facts', '--json', '--data', second.data.path)
  const first = get()
  await first.event('progress', 30_000, ({ bytesDone }) => Number(bytesDone) > 0)
  first.kill('SIGINT')
  expect(await first.exited).toBe(130)
  await expect
    .poll(async () => (await second.status()).contexts[0]?.isFetching, { timeout: 20_000 })
    .toBe(false)
  const { share = 0, bytes = 0 } = (await second.status()).contexts[0] ?? {}
  expect(share).toBeGreaterThan(0)
  expect(share).toBeLessThan(1)
  expect(await get().event('context-fetched', 30_000)).toMatchObject({
    bytesReused: Math.round(share * bytes),
  })
})

test('a context is got by its name, shown with what was decided, kept, mended and removed by its owner', async () => {
  const contextId = await swarm.importFacts('first')
  await swarm.up('first')
  const second = await swarm.up('second', '--no-replicate', '--store-quota', '1GB', '--upload-rate', '50MB')
  const context = (...parameters: string[]): ReturnType<TestSwarm['hearth']> =>
    swarm.hearth('context', ...parameters, '--json', '--data', second.data.path)

  const got = await context('get', 'facts').event('context-fetched', 30_000)
  expect(got).toMatchObject({ contextId, bytesReused: 0, sources: [{ bytes: got['bytesTotal'] }] })

  const detail = await detailOf(second)
  expect(detail).toMatchObject({ contextId, names: ['facts'], tier: { kind: 'stored' }, isPinned: false })
  expect(detail.fileDetails.every(({ bytes, heldBytes }) => bytes === heldBytes)).toBe(true)
  const codes = detail.decisions.map(({ code }) => code)
  expect(codes).toEqual(expect.arrayContaining(['fetch-begun', 'source-chosen', 'fetch-complete']))

  await context('pin', 'facts').event('context-pinned', 20_000)
  expect((await detailOf(second)).isPinned).toBe(true)
  const { bytesTotal } = got
  expect((await second.status()).store).toMatchObject({
    usedBytes: bytesTotal,
    pinnedBytes: bytesTotal,
    quotaBytes: 1e9,
  })

  await flipByte(await largestFile(join(second.data.path, 'contexts', 'blobs')))
  expect(await context('scrub', 'facts').event('context-scrubbed', 30_000)).toMatchObject({ chunksBad: 1 })
  const decided = async (code: string): Promise<string[]> =>
    (await detailOf(second)).decisions.filter((each) => each.code === code).map(({ words }) => words)
  await expect.poll(() => decided('fetch-complete'), { timeout: 20_000 }).toHaveLength(2)
  expect(await decided('damaged')).toHaveLength(1)
  expect((await decided('fetch-complete'))[1]).toMatch(/^1048576 bytes from 1 peers/)
  expect((await detailOf(second)).tier).toEqual({ kind: 'stored' })

  await context('rm', 'facts').event('context-removed', 20_000)
  const alone = swarm.hearth('context', 'rm', 'facts', '--json', '--data', swarm.path('first'))
  expect(await alone.event('error', 20_000)).toMatchObject({ code: 'context-kept' })
})

async function largestFile(folder: string): Promise<string> {
  const files = (await readdir(folder)).map((name) => join(folder, name))
  const sizes = await Promise.all(files.map(async (path) => ({ path, size: (await stat(path)).size })))
  return sizes.sort((a, b) => b.size - a.size)[0]!.path
}

async function flipByte(path: string): Promise<void> {
  const file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, 5000)
  byte[0] = byte[0]! ^ 0xff
  await file.write(byte, 0, 1, 5000)
  await file.close()
}
