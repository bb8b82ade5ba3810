import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Residency, type ResidencyOptions } from '../../src/inference/residency-core.ts'

const OPTIONS: ResidencyOptions = { contextsMax: 3, memoryBytesMax: 100, keepMs: 50 }

/** Loads and uses each for a moment, at the time given. */
function loaded(
  ...contexts: [contextId: string, memoryBytes: number, usedMs: number, loadMs?: number][]
): Residency {
  const residency = new Residency(OPTIONS)
  for (const [contextId, memoryBytes, usedMs, loadMs = 10] of contexts) {
    expect(residency.acquire(contextId, memoryBytes, usedMs)).toEqual({ kind: 'admit', evict: [] })
    residency.loaded(contextId, { memoryBytes, loadMs })
    residency.release(contextId, usedMs)
  }
  return residency
}

test('a context that is there is used again', () => {
  expect(loaded(['a', 10, 0]).acquire('a', 10, 5)).toEqual({ kind: 'present' })
})

test('the least recently used makes room', () => {
  const residency = loaded(['a', 10, 0], ['b', 10, 20], ['c', 10, 10])
  expect(residency.acquire('d', 10, 1_000)).toEqual({ kind: 'admit', evict: ['a'] })
})

test('one that takes ten times as long to load stays for as much longer', () => {
  const residency = loaded(['slow', 10, 0, 1_000], ['quick', 10, 500, 10], ['other', 10, 600, 10])
  expect(residency.acquire('d', 10, 1_000)).toEqual({ kind: 'admit', evict: ['quick'] })
})

test('one that was used just now goes last, whatever it costs', () => {
  const residency = loaded(['a', 10, 0, 100_000], ['b', 10, 990, 1], ['c', 10, 995, 1])
  expect(residency.acquire('d', 10, 1_000)).toEqual({ kind: 'admit', evict: ['a'] })
})

test('as few go as will do', () => {
  const residency = loaded(['small', 10, 0], ['large', 60, 100])
  expect(residency.acquire('d', 90, 1_000)).toEqual({ kind: 'admit', evict: ['large'] })
})

test('one in use is never unloaded', () => {
  const residency = loaded(['a', 60, 0], ['b', 30, 1])
  residency.acquire('a', 60, 10)
  expect(residency.acquire('d', 50, 1_000)).toEqual({ kind: 'busy' })
  residency.release('a', 1_000)
  expect(residency.acquire('d', 50, 2_000)).toEqual({ kind: 'admit', evict: ['a'] })
})

test('one over the bound never fits', () => {
  expect(loaded().acquire('d', 101, 0)).toEqual({ kind: 'too-large' })
})

test('when a process has grown, idle ones go until the rest fits', () => {
  const residency = loaded(['a', 40, 0], ['b', 30, 10])
  residency.acquire('c', 20, 20)
  residency.loaded('c', { memoryBytes: 65, loadMs: 5 })
  expect(residency.trim(1_000)).toEqual(['a'])
  expect(residency.memoryBytes).toBe(95)
})

test('whatever is asked, the bounds hold and nothing in use goes', () => {
  const event = fc.record({
    contextId: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
    memoryBytes: fc.integer({ min: 1, max: 120 }),
    kind: fc.constantFrom('acquire', 'acquire', 'release', 'remove'),
    afterMs: fc.integer({ min: 0, max: 100 }),
  })
  fc.assert(
    fc.property(fc.array(event), (events) => {
      const residency = new Residency(OPTIONS)
      let nowMs = 0
      for (const { contextId, memoryBytes, kind, afterMs } of events) {
        nowMs += afterMs
        const used = residency.list().filter(({ uses }) => uses > 0)
        if (kind === 'release') residency.release(contextId, nowMs)
        else if (kind === 'acquire') {
          const admission = residency.acquire(contextId, memoryBytes, nowMs)
          const after = residency.list().map((context) => context.contextId)
          for (const context of used) expect(after).toContain(context.contextId)
          if (admission.kind === 'admit') {
            for (const gone of admission.evict) expect(after).not.toContain(gone)
            residency.loaded(contextId, { memoryBytes, loadMs: memoryBytes })
          }
        } else if (!used.some((context) => context.contextId === contextId)) residency.remove(contextId)
        expect(residency.memoryBytes).toBeLessThanOrEqual(OPTIONS.memoryBytesMax)
        expect(residency.list().length).toBeLessThanOrEqual(OPTIONS.contextsMax)
      }
    }),
  )
})
