import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/random.ts'
import { backoffMs, listedBackoffMs, withJitter } from '../../../src/base/waiting/backoff.ts'

const SOURCES = fileURLToPath(new URL('../../../src', import.meta.url))

test('a wait doubles with each failure in a row, up to its cap', () => {
  const waits = [1, 2, 3, 4, 5, 6, 2000].map((failures) => backoffMs(500, 4000, failures))
  expect(waits).toEqual([500, 1000, 2000, 4000, 4000, 4000, 4000])
})

test('a first wait of 0 stays 0 however often something fails', () => {
  expect(backoffMs(0, 4000, 2000)).toBe(0)
})

test('a listed wait follows its list, whose last wait stays', () => {
  expect([1, 2, 3, 4].map((failures) => listedBackoffMs([500, 700, 5000], failures))).toEqual([
    500, 700, 5000, 5000,
  ])
})

test('no wait follows less than one failure', () => {
  for (const failures of [0, -1, 1.5, Number.NaN]) {
    expect(() => backoffMs(500, 4000, failures)).toThrow('a wait was asked for after')
    expect(() => listedBackoffMs([500], failures)).toThrow('a wait was asked for after')
  }
  expect(() => listedBackoffMs([], 1)).toThrow('a list of waits is empty')
})

test('jitter shortens a wait by up to half, and draws once', () => {
  const random = seededRandom(7)
  const waits = Array.from({ length: 1000 }, () => withJitter(1000, random))
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(500)
  expect(Math.max(...waits)).toBeLessThan(1000)
  expect(new Set(waits).size).toBeGreaterThan(900)
  const again = seededRandom(7)
  expect(withJitter(1000, again)).toBe(1000 * (0.5 + seededRandom(7).next() / 2))
  const second = seededRandom(7)
  second.next()
  expect(again.next()).toBe(second.next())
})

test('no other file of src/ doubles a wait by itself', () => {
  const doubling = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && path !== join('base', 'waiting', 'backoff.ts'))
    .filter((path) =>
      /Ms\w*\s*\*\s*2 \*\*|MS\w*\s*\*\s*2 \*\*/.test(readFileSync(join(SOURCES, path), 'utf8')),
    )
  expect(doubling).toEqual([])
})
