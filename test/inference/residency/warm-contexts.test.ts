import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { EngineHost } from '../../../src/inference/host/engine-host.ts'
import type { EngineHostOptions } from '../../../src/inference/host/engine-host-options.ts'
import {
  WarmContexts,
  type Eviction,
  type WarmContextsOptions,
} from '../../../src/inference/residency/warm-contexts.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const made: EngineHost[] = []
let warm: WarmContexts

/** No hysteresis: what is idle makes room at once, and what is in use is waited for. */
const EAGER = { stayMsMin: 0, stayPerLoad: 0, idleMsMin: 0, patienceMs: 60_000 }

function makeWarm(
  contextsMax: number,
  host: Omit<EngineHostOptions, 'folder'> = {},
  options: Partial<WarmContextsOptions> = {},
): WarmContexts {
  const makeHost = (options: EngineHostOptions): EngineHost => {
    const host = new EngineHost({ clock: systemClock, log: silentLogger }, options)
    made.push(host)
    return host
  }
  warm = new WarmContexts(
    { clock: systemClock, makeHost },
    { contextsMax, host: { engine: 'fake', heartbeatMs: 50, ...host }, residency: EAGER, ...options },
  )
  return warm
}

afterEach(async () => {
  await warm.stop()
  made.length = 0
})

const complete = (prompt: string) => ({ url: '/v1/completions', body: { prompt } })
const namesOf = (contexts: WarmContexts): string[] => contexts.list().map(({ contextId }) => contextId)

test('callers at the same time share one load, and the context stays warm after them', async () => {
  makeWarm(2)
  const leases = await Promise.all([1, 2, 3].map(() => warm.acquire('a', '/a')))
  expect(made.filter(({ pid }) => pid !== undefined)).toHaveLength(1)
  expect(warm.list()).toMatchObject([{ contextId: 'a', isReady: true, uses: 3 }])
  for (const lease of leases) {
    lease.release()
    lease.release()
  }
  expect(warm.list()).toMatchObject([{ contextId: 'a', isReady: true, uses: 0 }])
  const again = await warm.acquire('a', '/a')
  expect(again.host).toBe(leases[0]?.host)
})

test('the least recently used idle context makes room; for one in use the next waits', async () => {
  makeWarm(2)
  const first = await warm.acquire('a', '/a')
  const second = await warm.acquire('b', '/b')
  second.release()
  const third = await warm.acquire('c', '/c')
  expect(namesOf(warm)).toEqual(['a', 'c'])
  const fourth = warm.acquire('d', '/d')
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(namesOf(warm)).toEqual(['a', 'c'])
  first.release()
  await fourth
  expect(namesOf(warm)).toEqual(['c', 'd'])
  expect(third.host.facts).toBeDefined()
})

test('who waits too long is told what is loaded, and loads nothing later', async () => {
  makeWarm(1, {}, { waitMsMax: 50 })
  const first = await warm.acquire('a', '/a')
  await expect(warm.acquire('b', '/b')).rejects.toMatchObject({
    code: 'limit-reached',
    message: 'no memory became free for context b within 50 ms; the loaded contexts are a',
  })
  first.release()
  expect(namesOf(warm)).toEqual(['a'])
})

test('a context over the bound on memory is refused with what it needs', async () => {
  const folder = temporaryFolder('large')
  mkdirSync(join(folder, 'onnx'))
  writeFileSync(join(folder, 'onnx', 'model.onnx'), '')
  truncateSync(join(folder, 'onnx', 'model.onnx'), 2 ** 30)
  makeWarm(4, {}, { memoryBytesMax: 2 ** 30 })
  await expect(warm.acquire('large', folder)).rejects.toMatchObject({
    code: 'limit-reached',
    message: expect.stringMatching(
      /needs about 1\d{9} bytes of memory, and all contexts together may use 1073741824/,
    ),
  })
  expect(warm.list()).toEqual([])
})

test('measured sizes count: a process that has grown drives out an idle one', async () => {
  // Estimated at 84 MB each; a process with a fake engine holds more than 45 MB.
  makeWarm(4, { residentBytesMax: Infinity }, { memoryBytesMax: 90_000_000 })
  const evictions: Eviction[] = []
  warm.onEvicted((eviction) => evictions.push(eviction))
  ;(await warm.acquire('a', '/a')).release()
  await warm.acquire('b', '/b')
  expect(namesOf(warm)).toEqual(['b'])
  expect(evictions).toEqual([{ contextId: 'a', reason: 'it made room for context b' }])
})

test('a context that is to go says so at once, takes no new use, and its last one ends in peace', async () => {
  makeWarm(1, { fake: { prefillMs: 200 } }, { residency: { ...EAGER, patienceMs: 0 } })
  const evictions: Eviction[] = []
  warm.onEvicted((eviction) => evictions.push(eviction))
  const lease = await warm.acquire('a', '/a')
  const run = lease.host.run(complete('x'))
  const second = warm.acquire('b', '/b')
  await expect.poll(() => evictions).toEqual([{ contextId: 'a', reason: 'it made room for context b' }])
  expect(warm.list()).toEqual([])
  expect(warm.borrow('a')).toBeUndefined()
  expect(await run).toMatchObject({ ok: true })
  lease.release()
  expect((await second).contextId).toBe('b')
})

test('a loaded context is borrowed without waiting, and is in use until given back', async () => {
  makeWarm(1)
  expect(warm.borrow('a')).toBeUndefined()
  ;(await warm.acquire('a', '/a')).release()
  const borrowed = warm.borrow('a')
  expect(warm.list()).toMatchObject([{ uses: 1 }])
  borrowed?.release()
  expect(warm.list()).toMatchObject([{ uses: 0 }])
})

test('an evicted context is gone when the call returns, and its runs have failed', async () => {
  makeWarm(2, { fake: { prefillMs: 60_000 } })
  const { host } = await warm.acquire('a', '/a')
  const failed = expect(host.run(complete('x'))).rejects.toMatchObject({ code: 'engine-failed' })
  expect(await warm.evict('a')).toBe(true)
  await failed
  expect(host.pid).toBeUndefined()
  expect(await warm.evict('a')).toBe(false)
  expect(warm.list()).toEqual([])
})

test('uses of a loaded context are no news', async () => {
  makeWarm(1)
  await warm.acquire('a', '/a')
  let changes = 0
  warm.onChange(() => (changes += 1))
  for (let use = 0; use < 3; use += 1) (await warm.acquire('a', '/a')).release()
  expect(changes).toBe(0)
})

test('a context whose process died is told of, and is there again after the next use', async () => {
  makeWarm(1)
  const { host } = await warm.acquire('a', '/a')
  let changes = 0
  warm.onChange(() => (changes += 1))
  await expect(host.run(complete('!crash'))).rejects.toMatchObject({ code: 'engine-failed' })
  await expect.poll(() => changes).toBeGreaterThan(0)
  expect(warm.list()).toMatchObject([{ isReady: false }])
  await warm.acquire('a', '/a')
  expect(warm.list()).toMatchObject([{ isReady: true }])
})

test('a context that cannot be loaded leaves no trace', async () => {
  makeWarm(1, { engine: 'auto' })
  await expect(warm.acquire('a', '/nowhere')).rejects.toMatchObject({
    code: 'context-invalid',
    message: expect.stringContaining('no ONNX model'),
  })
  expect(warm.list()).toEqual([])
})

test('a caller that gives up lets go of what was loading only for it', async () => {
  makeWarm(1, { fake: { loadMs: 60_000 } })
  const cancel = new AbortController()
  const acquired = warm.acquire('a', '/a', { signal: cancel.signal })
  setTimeout(() => cancel.abort(new Error('no longer needed')), 50)
  await expect(acquired).rejects.toThrow('no longer needed')
  expect(warm.list()).toEqual([])
})

test('stop tells those who wait, and the contexts can be acquired again', async () => {
  makeWarm(1)
  await warm.acquire('a', '/a')
  const waiting = expect(warm.acquire('b', '/b')).rejects.toMatchObject({ code: 'engine-failed' })
  await new Promise((resolve) => setTimeout(resolve, 20))
  await warm.stop()
  await waiting
  expect((await warm.acquire('b', '/b')).facts.engine).toBe('fake')
})

test('a context whose engine is killed three times in a row is unloaded and refused, and no other', async () => {
  makeWarm(2)
  const evictions: Eviction[] = []
  warm.onEvicted((eviction) => evictions.push(eviction))
  const lease = await warm.acquire('a', '/a')
  for (let kills = 1; kills <= 3; kills += 1) {
    const exit = Promise.withResolvers<unknown>()
    const stop = lease.host.onExit(exit.resolve)
    process.kill(lease.host.pid!, 'SIGKILL')
    await exit.promise
    stop()
    if (kills < 3) await lease.host.start()
  }
  const why = /killed 3 times in a row/
  expect(evictions).toMatchObject([{ contextId: 'a', reason: expect.stringMatching(why) }])
  await expect(warm.acquire('a', '/a')).rejects.toThrow(why)
  await expect(warm.acquire('b', '/b')).resolves.toBeDefined()
})
