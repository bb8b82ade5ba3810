// Bounds of context sharing that no other test comes near.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import {
  CHUNK_BANS_MAX,
  CONTEXT_NAMES_MAX,
  CONTEXT_NAME_BYTES_MAX,
  CONTEXT_PATH_BYTES_MAX,
  FETCH_CLAIMS_MAX,
  FILE_SEGMENTS_MAX,
  SOURCE_WINDOW_BYTES_MAX,
} from '../../src/base/limits.ts'
import { seededRandom } from '../../src/base/random.ts'
import { ChunkBans } from '../../src/context-sharing/download/core/chunk-bans.ts'
import { ChunkPool } from '../../src/context-sharing/download/core/chunk-pool.ts'
import { ContextNames } from '../../src/context-sharing/store/context-names.ts'
import { pathFault } from '../../src/context-sharing/content/manifest-path.ts'
import { decodeManifest, encodeManifest, type Manifest } from '../../src/context-sharing/content/manifest.ts'
import { newSource, windowBytes } from '../../src/context-sharing/download/core/source.ts'
import { Closers } from '../../testing/sharing-peers.ts'

const closers = new Closers()
afterEach(() => closers.run())

it('a file may have so many segments, and not one more', () => {
  const manifestOf = (segments: number): Manifest => ({
    version: 1,
    chunkBytes: 1_048_576,
    files: [
      {
        path: 'model.onnx',
        size: segments,
        sha256: new Uint8Array(32),
        class: 'weights',
        segments: Array.from({ length: segments }, () => 1),
        chunks: new Uint8Array(32 * segments),
      },
    ],
    runtime: { engine: 'onnxruntime', format: 'onnx', entry: 'model.onnx', dtype: 'fp32' },
  })
  const most = manifestOf(FILE_SEGMENTS_MAX)
  expect(decodeManifest(encodeManifest(most))).toEqual(most)
  expect(() => decodeManifest(encodeManifest(manifestOf(FILE_SEGMENTS_MAX + 1)))).toThrow(
    expect.objectContaining({ code: 'context-invalid' }),
  )
})

it('a path and each name in it may be so long in UTF-8, and not one byte more', () => {
  const name = 'ä'.repeat((CONTEXT_NAME_BYTES_MAX - 1) / 2)
  expect(pathFault(`${name}x`)).toBeUndefined()
  expect(pathFault(`${name}xx`)).toContain(`${CONTEXT_NAME_BYTES_MAX} bytes`)
  const folders = 'f/'.repeat(CONTEXT_PATH_BYTES_MAX / 2 - 1)
  expect(pathFault(`${folders}xx`)).toBeUndefined()
  expect(pathFault(`${folders}xxx`)).toContain(`${CONTEXT_PATH_BYTES_MAX} bytes`)
})

it('there may be so many names, and a name that is there may still get another meaning', async () => {
  const path = join(await closers.temporaryFolder(), 'names.json')
  const contextId = `bafyrei${'a'.repeat(52)}`
  const names = Array.from({ length: CONTEXT_NAMES_MAX }, (_value, index) => [`n${index}`, contextId])
  await writeFile(path, JSON.stringify({ version: 1, names: Object.fromEntries(names) }))
  const known = new ContextNames(path)
  await known.load()
  await expect(known.set('one-more', contextId)).rejects.toMatchObject({ code: 'limit-reached' })
  await known.set('n0', `bafyrei${'b'.repeat(52)}`)
  expect(known.get('n0')).toMatch(/^bafyreib/)
})

it('however fast a source is, only so much is asked of it ahead', () => {
  const source = newSource('fast', 0)
  Object.assign(source, { verifiedChunks: 100, rateBytesPerSecond: 1e12, roundTripMs: 1000 })
  expect(windowBytes(source)).toBe(SOURCE_WINDOW_BYTES_MAX)
})

it('claims beyond the bound change nothing', () => {
  const chunks = FETCH_CLAIMS_MAX + 1
  const pool = new ChunkPool(chunks, [...Array(chunks).keys()])
  for (let chunk = 0; chunk < chunks; chunk += 1) {
    pool.add(0, chunk)
    pool.claim(chunk, 0)
  }
  // A claim counts as one more holder, so that the one chunk without is the rarest.
  expect(pool.take(0, seededRandom(1))).toBe(FETCH_CLAIMS_MAX)
})

it('bans end after an hour, and of too many the oldest is forgotten', () => {
  const bans = new ChunkBans()
  for (let peer = 0; peer <= CHUNK_BANS_MAX; peer += 1) bans.add(`p${peer}`, peer)
  expect(bans.has('p0', CHUNK_BANS_MAX)).toBe(false)
  expect(bans.has('p1', CHUNK_BANS_MAX)).toBe(true)
  expect(bans.has('p1', 3_600_001)).toBe(false)
})
