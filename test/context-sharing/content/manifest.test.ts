import { encode } from '@ipld/dag-cbor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CHUNK_BYTES, MANIFEST_FILES_MAX } from '../../../src/base/limits.ts'
import { ChunkMap } from '../../../src/context-sharing/content/chunk-map.ts'
import { pathFault, pathsFault } from '../../../src/context-sharing/content/manifest-path.ts'
import {
  type ContextFile,
  type Manifest,
  chunkCountOf,
  contextIdOf,
  decodeManifest,
  encodeManifest,
  isContextId,
} from '../../../src/context-sharing/content/manifest.ts'

function file(path: string, segments: number[] = [3]): ContextFile {
  const size = segments.reduce((sum, length) => sum + length, 0)
  return {
    path,
    size,
    sha256: new Uint8Array(32).fill(1),
    class: 'other',
    segments,
    chunks: new Uint8Array(32 * chunkCountOf(segments)).fill(2),
  }
}

function manifest(files: ContextFile[], entry = files[0]?.path ?? ''): Manifest {
  return {
    version: 1,
    chunkBytes: CHUNK_BYTES,
    files,
    runtime: { engine: 'onnxruntime', format: 'onnx', entry, dtype: 'fp32' },
  }
}

describe('a manifest', () => {
  it('has one encoding, and its id never changes', () => {
    const bytes = encodeManifest(
      manifest([file('a.json'), file('b/model.onnx', [CHUNK_BYTES + 1])], 'b/model.onnx'),
    )
    expect(contextIdOf(bytes)).toBe('bafyreid3odtytn3dnk6pr76uw2qkf2aecl45wwpqynjtjrcuickua77qay')
    expect(isContextId(contextIdOf(bytes))).toBe(true)
    expect(encodeManifest(decodeManifest(bytes, contextIdOf(bytes)))).toEqual(bytes)
  })

  it('is refused under another id', () => {
    const id = contextIdOf(encodeManifest(manifest([file('a')])))
    expect(() => decodeManifest(encodeManifest(manifest([file('b')])), id)).toThrow('that of bafyrei')
  })

  it('is refused in another encoding of the same', () => {
    const bytes = encodeManifest(manifest([file('a')]))
    // The first key's length, written in two bytes where one is enough.
    const longer = Uint8Array.of(bytes[0] ?? 0, 0x78, (bytes[1] ?? 0) & 0x1f, ...bytes.subarray(2))
    expect(() => decodeManifest(longer)).toThrow(/not (canonical )?dag-cbor/)
  })

  const tooManyFiles = Array.from({ length: MANIFEST_FILES_MAX + 1 }, (_value, index) =>
    file(String(index).padStart(5, '0')),
  )
  it.each<[string, unknown]>([
    ['no files', manifest([])],
    ['more files than the limit', manifest(tooManyFiles)],
    ['an unknown field', { ...manifest([file('a')]), name: 'x' }],
    ['an unknown version', { ...manifest([file('a')]), version: 2 }],
    ['another chunk size', { ...manifest([file('a')]), chunkBytes: 1000 }],
    ['an unknown class', manifest([{ ...file('a'), class: 'evil' as 'other' }])],
    ['files out of order', manifest([file('b'), file('a')])],
    ['an entry that is not there', manifest([file('a')], 'b')],
    ['segments that do not add up', manifest([{ ...file('a'), size: 4 }])],
    ['an empty segment', manifest([{ ...file('a'), segments: [3, 0] }])],
    ['too few chunks', manifest([{ ...file('a'), chunks: new Uint8Array(0) }])],
    ['too many chunks', manifest([{ ...file('a'), chunks: new Uint8Array(64) }])],
    ['a short hash', manifest([{ ...file('a'), sha256: new Uint8Array(31) }])],
    ['a path that climbs', manifest([file('../a')])],
    ['a file that is also a folder', manifest([file('a'), file('a/b')])],
    [
      'an engine that is no word',
      { ...manifest([file('a')]), runtime: { ...manifest([file('a')]).runtime, engine: 'A b' } },
    ],
    ['a number for a file', { ...manifest([file('a')]), files: [1] }],
  ])('with %s is refused', (_what, value) => {
    expect(() => decodeManifest(encode(value))).toThrow(expect.objectContaining({ code: 'context-invalid' }))
  })

  it('of any bytes is refused or the same again', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(() => decodeManifest(bytes)).toThrow(expect.objectContaining({ code: 'context-invalid' }))
      }),
    )
  })
})

describe('a path', () => {
  it.each([
    ['', 'is empty'],
    ['/etc/passwd', 'is absolute'],
    ['C:/x', 'is absolute'],
    ['a\\b', 'has a backslash'],
    ['a\0b', 'has a control character'],
    ['a\nb', 'has a control character'],
    ['a//b', 'has an empty name'],
    ['a/', 'has an empty name'],
    ['.', 'has a "."'],
    ['a/./b', 'has a "."'],
    ['..', 'has a ".."'],
    ['a/../../b', 'has a ".."'],
    ['e\u0301', 'is not normalised Unicode (NFC)'],
    ['\ud800', 'is not normalised Unicode (NFC)'],
    ['x'.repeat(256), 'has a name longer than 255 bytes'],
    ['ab/'.repeat(400), 'is longer than 1024 bytes'],
  ])('%j is refused: %s', (path, fault) => {
    expect(pathFault(path)).toBe(fault)
  })

  it.each(['a', 'onnx/model.onnx', '..a', 'é', 'a b', '模型/权重.safetensors'])('%j is taken', (path) => {
    expect(pathFault(path)).toBeUndefined()
  })

  it.each([
    [['a', 'a'], '"a" is there twice'],
    [['Model.onnx', 'model.onnx'], '"Model.onnx" and "model.onnx" differ only in case'],
    [['STRASSE', 'straße'], '"STRASSE" and "straße" differ only in case'],
    [['a', 'A/b'], '"a" is both a file and a folder'],
  ])('%j do not stand beside one another', (paths, fault) => {
    expect(pathsFault(paths)).toBe(fault)
  })
})

describe('the chunk map', () => {
  const segmentLength = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 3 * CHUNK_BYTES }))

  it('covers every byte of every file once, and starts anew with each segment', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(segmentLength, { maxLength: 4 }), { minLength: 1, maxLength: 5 }),
        (files) => {
          const { files: described, ...rest } = manifest(
            files.map((segments, index) => file(String(index), segments)),
          )
          const map = new ChunkMap({ ...rest, files: described })
          let expected = 0
          for (const [index, { segments }] of described.entries()) {
            const starts = new Set<number>()
            let offset = 0
            for (const length of segments) {
              starts.add(offset)
              offset += length
            }
            const { first, count } = map.ofFile(index)
            expect(first).toBe(expected)
            let end = 0
            for (let chunk = first; chunk < first + count; chunk += 1) {
              const at = map.chunk(chunk)
              expect(at).toMatchObject({ file: index, indexInFile: chunk - first, offset: end })
              expect(at.length).toBeLessThanOrEqual(CHUNK_BYTES)
              starts.delete(at.offset)
              end += at.length
            }
            expect(end).toBe(offset)
            expect(starts.size).toBe(0)
            expected += count
          }
          expect(map.count).toBe(expected)
          expect(() => map.chunk(expected)).toThrow(RangeError)
        },
      ),
    )
  })
})
