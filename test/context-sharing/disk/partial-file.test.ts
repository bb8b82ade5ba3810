import { copyFile, mkdir, open, readFile, readdir, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { CHUNK_BYTES } from '../../../src/base/limits.ts'
import {
  JOURNAL_HEADER_BYTES,
  JOURNAL_RECORD_BYTES,
} from '../../../src/context-sharing/disk/chunk-journal.ts'
import { type WritableAt, sha256 } from '../../../src/context-sharing/disk/disk.ts'
import type { ContextFile } from '../../../src/context-sharing/content/manifest.ts'
import { PartialFile, type PartialFileComponents } from '../../../src/context-sharing/disk/partial-file.ts'
import { StorePaths } from '../../../src/context-sharing/disk/store-paths.ts'
import { Closers, modelBytes } from '../../../testing/sharing-peers.ts'

const closers = new Closers()
afterEach(() => closers.run())

const CONTENT = modelBytes('partial', 4 * CHUNK_BYTES + 100)

async function describeFile(content: Uint8Array): Promise<ContextFile> {
  const chunks = []
  for (let from = 0; from < content.byteLength; from += CHUNK_BYTES) {
    chunks.push(await sha256(content.subarray(from, from + CHUNK_BYTES)))
  }
  return {
    path: 'model.onnx',
    size: content.byteLength,
    sha256: await sha256(content),
    class: 'weights',
    segments: [content.byteLength],
    chunks: Buffer.concat(chunks),
  }
}

const FILE = await describeFile(CONTENT)
const chunkBytes = (chunk: number): Uint8Array =>
  CONTENT.slice(chunk * CHUNK_BYTES, Math.min(CONTENT.byteLength, (chunk + 1) * CHUNK_BYTES))

async function components(bootId = 'boot-1'): Promise<PartialFileComponents & { paths: StorePaths }> {
  const paths = new StorePaths(await closers.temporaryFolder())
  await paths.make()
  return { paths, bootId }
}

/** Loads, and checks that whatever is claimed is on disk and right. */
async function loadTrue(of: PartialFileComponents): Promise<number[]> {
  const partial = await PartialFile.load(of, FILE)
  for (const chunk of partial.held) {
    expect(await sha256(await partial.read(chunk))).toEqual(
      new Uint8Array(FILE.chunks.subarray(chunk * 32, chunk * 32 + 32)),
    )
  }
  await partial.close()
  return [...partial.held]
}

describe('a file in progress', () => {
  it('is claimed chunk by chunk, sealed, and moved to the blobs', async () => {
    const of = await components()
    const partial = await PartialFile.load(of, FILE)
    const held: number[] = []
    partial.onHeld((chunk) => held.push(chunk))
    for (const chunk of [4, 1, 0, 3, 2]) expect(await partial.write(chunk, chunkBytes(chunk))).toBe(true)
    expect(held).toEqual([4, 1, 0, 3, 2])
    expect(await partial.write(2, chunkBytes(2))).toBe(false)
    await partial.seal()
    expect(Buffer.compare(await readFile(of.paths.blob(FILE)), CONTENT)).toBe(0)
    expect(await readdir(of.paths.of('parts'))).toEqual([])
    expect(Buffer.compare(await partial.read(1), chunkBytes(1))).toBe(0)
  })

  it('is claimed by its journal until it has the name of a blob: no moment of its sealing is without a claim', async () => {
    const of = await components()
    const partial = await PartialFile.load(of, FILE)
    for (const chunk of [0, 1, 2, 3, 4]) await partial.write(chunk, chunkBytes(chunk))
    // What has the name already stops the sealing where a crash could.
    await mkdir(join(of.paths.blob(FILE), 'in the way'), { recursive: true })
    await expect(partial.seal()).rejects.toThrow('rename')
    expect(await loadTrue(of)).toEqual([0, 1, 2, 3, 4])
  })

  it('refuses bytes that are not the chunk, and writes none of them', async () => {
    const of = await components()
    const partial = await PartialFile.load(of, FILE)
    for (const bytes of [chunkBytes(1), chunkBytes(0).subarray(1), new Uint8Array(0)]) {
      await expect(partial.write(0, bytes)).rejects.toMatchObject({ code: 'chunk-corrupt' })
    }
    expect(await readdir(of.paths.of('parts'))).toEqual([])
  })

  it('writes a chunk that comes twice at once only once', async () => {
    const partial = await PartialFile.load(await components(), FILE)
    const results = await Promise.all([0, 0, 0].map((chunk) => partial.write(chunk, chunkBytes(chunk))))
    expect(results.filter(Boolean)).toHaveLength(1)
    await partial.close()
  })

  it('takes room only for what is written', async () => {
    const of = await components()
    const partial = await PartialFile.load(of, FILE)
    await partial.write(4, chunkBytes(4))
    const file = await open(of.paths.part(FILE))
    const { blocks, size } = await file.stat()
    await file.close()
    expect(size).toBe(CONTENT.byteLength)
    expect(blocks * 512).toBeLessThan(CHUNK_BYTES)
    await partial.close()
  })
})

describe('after the death of the process', () => {
  /** Writes chunks 0 to 3 and leaves everything as a kill would: without close or sync. */
  async function killed(): Promise<PartialFileComponents & { paths: StorePaths }> {
    const of = await components()
    const partial = await PartialFile.load(of, FILE)
    for (const chunk of [2, 0, 3, 1]) await partial.write(chunk, chunkBytes(chunk))
    const copy = await components()
    await copyFile(of.paths.part(FILE), copy.paths.part(FILE))
    await copyFile(of.paths.journal(FILE), copy.paths.journal(FILE))
    await partial.close()
    return copy
  }

  it('holds every chunk that was claimed', async () => {
    expect(await loadTrue(await killed())).toEqual([0, 1, 2, 3])
  })

  it('holds what the journal had room for, wherever it was cut, and goes on from there', async () => {
    const of = await killed()
    const journal = await readFile(of.paths.journal(FILE))
    expect(journal.byteLength).toBe(JOURNAL_HEADER_BYTES + 4 * JOURNAL_RECORD_BYTES)
    for (let length = journal.byteLength; length >= 0; length -= 1) {
      await writeFile(of.paths.journal(FILE), journal.subarray(0, length))
      const records = Math.floor((length - JOURNAL_HEADER_BYTES) / JOURNAL_RECORD_BYTES)
      const held = [2, 0, 3, 1].slice(0, Math.max(0, records)).sort((left, right) => left - right)
      expect(await loadTrue(of)).toEqual(held)
    }
    const cut = journal.subarray(0, journal.byteLength - 3)
    await writeFile(of.paths.journal(FILE), cut)
    const partial = await PartialFile.load(of, FILE)
    await partial.write(1, chunkBytes(1))
    const torn = await readFile(of.paths.journal(FILE))
    expect(torn.byteLength).toBe(journal.byteLength)
    expect(await loadTrue(of)).toEqual([0, 1, 2, 3])
    await partial.close()
  })

  it('never takes a damaged record for a claim', async () => {
    const of = await killed()
    const journal = await readFile(of.paths.journal(FILE))
    for (let at = JOURNAL_HEADER_BYTES; at < journal.byteLength; at += 1) {
      const damaged = Buffer.from(journal)
      damaged[at] = (damaged[at] ?? 0) ^ 0x55
      await writeFile(of.paths.journal(FILE), damaged)
      const record = Math.floor((at - JOURNAL_HEADER_BYTES) / JOURNAL_RECORD_BYTES)
      expect(await loadTrue(of)).toEqual([2, 0, 3, 1].slice(0, record).sort((left, right) => left - right))
    }
  })

  it('cuts off what follows a damaged record, and a record in the wrong place is damaged', async () => {
    const of = await killed()
    const journal = await readFile(of.paths.journal(FILE))
    const record = (number: number): Buffer =>
      journal.subarray(JOURNAL_HEADER_BYTES + number * JOURNAL_RECORD_BYTES).subarray(0, JOURNAL_RECORD_BYTES)
    const header = journal.subarray(0, JOURNAL_HEADER_BYTES)
    await writeFile(
      of.paths.journal(FILE),
      Buffer.concat([header, record(0), record(2), record(1), record(3)]),
    )
    expect(await loadTrue(of)).toEqual([2])
    const damaged = Buffer.concat([header, record(0), Buffer.alloc(8), record(2), record(3)])
    await writeFile(of.paths.journal(FILE), damaged)
    const partial = await PartialFile.load(of, FILE)
    await partial.write(4, chunkBytes(4))
    const length = JOURNAL_HEADER_BYTES + 2 * JOURNAL_RECORD_BYTES
    expect((await readFile(of.paths.journal(FILE))).byteLength).toBe(length)
    expect(await loadTrue(of)).toEqual([2, 4])
    await partial.close()
  })

  it('holds nothing when the data is gone or of another length', async () => {
    const of = await killed()
    await truncate(of.paths.part(FILE), 5)
    expect(await loadTrue(of)).toEqual([])
    expect(await loadTrue({ ...of, paths: (await components()).paths })).toEqual([])
  })

  it('does not mix the chunks of two lists for one file hash', async () => {
    const of = await killed()
    const other = await PartialFile.load(of, { ...FILE, chunks: FILE.chunks.map((byte) => byte ^ 1) })
    expect(other.held.count).toBe(0)
  })
})

describe('after a new boot', () => {
  it('hashes again what was not durable, and drops what did not reach the disk', async () => {
    const of = await components('boot-1')
    const partial = await PartialFile.load(of, FILE)
    for (const chunk of [0, 1]) await partial.write(chunk, chunkBytes(chunk))
    await partial.close()
    const again = await PartialFile.load(of, FILE)
    for (const chunk of [2, 3]) await again.write(chunk, chunkBytes(chunk))
    // Not closed: 2 and 3 are written, and not durable. The power fails, and 3 did not reach the disk.
    const data = await open(of.paths.part(FILE), 'r+')
    await data.write(new Uint8Array(CHUNK_BYTES), 0, CHUNK_BYTES, 3 * CHUNK_BYTES)
    await data.close()
    expect(await loadTrue({ ...of, bootId: 'boot-2' })).toEqual([0, 1, 2])
    expect(await loadTrue({ ...of, bootId: '' })).toEqual([0, 1, 2])
    await again.close()
  })

  it('goes on, and claims only what it wrote under the new boot as written', async () => {
    const of = await components('boot-1')
    const partial = await PartialFile.load(of, FILE)
    await partial.write(0, chunkBytes(0))
    await partial.close()
    const later = await PartialFile.load({ ...of, bootId: 'boot-2' }, FILE)
    await later.write(4, chunkBytes(4))
    expect(await loadTrue({ ...of, bootId: 'boot-2' })).toEqual([0, 4])
    await later.close()
  })
})

describe('on a full disk', () => {
  const fullAfter = (bytesLeft: number): ((file: WritableAt) => WritableAt) => {
    let left = bytesLeft
    return (file) => ({
      async write(bytes, offset, length, position) {
        if (left === 0) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
        const some = Math.min(left, length)
        left -= some
        return await file.write(bytes, offset, some, position)
      },
    })
  }

  it('says so, and claims only what is there', async () => {
    const of = await components()
    const partial = await PartialFile.load({ ...of, writable: fullAfter(2.5 * CHUNK_BYTES) }, FILE)
    await partial.write(0, chunkBytes(0))
    await partial.write(1, chunkBytes(1))
    await expect(partial.write(2, chunkBytes(2))).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringMatching(/[Ff]ree some space/),
    })
    expect([...partial.held]).toEqual([0, 1])
    await partial.close()
    expect(await loadTrue(of)).toEqual([0, 1])
  })
})

describe('a file that the disk damaged after an earlier process verified its chunks', () => {
  it('is not sealed, and loses only the damaged chunks', async () => {
    const of = await components()
    const earlier = await PartialFile.load(of, FILE)
    for (const chunk of [0, 1, 2, 3]) await earlier.write(chunk, chunkBytes(chunk))
    await earlier.close()
    const partial = await PartialFile.load(of, FILE)
    await partial.write(4, chunkBytes(4))
    const data = await open(of.paths.part(FILE), 'r+')
    await data.write(Uint8Array.of(1, 2, 3), 0, 3, 2 * CHUNK_BYTES + 5)
    await data.close()
    await expect(partial.seal()).rejects.toMatchObject({ code: 'data-corrupt' })
    expect(await loadTrue(of)).toEqual([0, 1, 3, 4])
    await partial.write(2, chunkBytes(2))
    await partial.seal()
    expect(Buffer.compare(await readFile(of.paths.blob(FILE)), CONTENT)).toBe(0)
  })
})
