import { afterEach, expect, test } from 'vitest'
import { silentLogger } from '../../src/base/logger.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { EngineHost, type EngineHostOptions } from '../../src/inference/engine-host.ts'
import { WarmContexts } from '../../src/inference/warm-contexts.ts'

const made: EngineHost[] = []
let warm: WarmContexts

function makeWarm(contextsMax: number, host: Omit<EngineHostOptions, 'folder'> = {}): WarmContexts {
  const makeHost = (options: EngineHostOptions): EngineHost => {
    const host = new EngineHost({ clock: systemClock, log: silentLogger }, options)
    made.push(host)
    return host
  }
  warm = new WarmContexts({ makeHost }, { contextsMax, host: { engine: 'fake', heartbeatMs: 50, ...host } })
  return warm
}

afterEach(async () => {
  await warm.stop()
  made.length = 0
})

const complete = (prompt: string) => ({ url: '/v1/completions', body: { prompt } })

test('callers at the same time share one load, and the context stays warm after them', async () => {
  makeWarm(2)
  const leases = await Promise.all([1, 2, 3].map(() => warm.acquire('a', '/a')))
  expect(made).toHaveLength(1)
  expect(warm.list()).toMatchObject([{ contextId: 'a', isReady: true, uses: 3 }])
  for (const lease of leases) {
    lease.release()
    lease.release()
  }
  expect(warm.list()).toMatchObject([{ contextId: 'a', isReady: true, uses: 0 }])
  const again = await warm.acquire('a', '/a')
  expect(again.host).toBe(leases[0]?.host)
})

test('the least recently used idle context makes room; one in use never does', async () => {
  makeWarm(2)
  const first = await warm.acquire('a', '/a')
  const second = await warm.acquire('b', '/b')
  second.release()
  const third = await warm.acquire('c', '/c')
  expect(warm.list().map(({ contextId }) => contextId)).toEqual(['a', 'c'])
  await expect(warm.acquire('d', '/d')).rejects.toMatchObject({ code: 'limit-reached' })
  first.release()
  await warm.acquire('d', '/d')
  expect(warm.list().map(({ contextId }) => contextId)).toEqual(['c', 'd'])
  expect(third.host.facts).toBeDefined()
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

test('a context that cannot be loaded leaves no trace', async () => {
  makeWarm(1, { engine: 'auto' })
  await expect(warm.acquire('a', '/nowhere')).rejects.toMatchObject({
    code: 'context-invalid',
    message: 'config.json is missing',
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

test('a lease on a context that was evicted meanwhile does not release its successor', async () => {
  makeWarm(1)
  const old = await warm.acquire('a', '/a')
  await warm.evict('a')
  await warm.acquire('a', '/a')
  old.release()
  expect(warm.list()).toMatchObject([{ uses: 1 }])
})
