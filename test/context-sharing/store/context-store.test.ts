import {
  link,
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { CHUNK_BYTES, IMPORT_DEPTH_MAX } from '../../../src/base/limits.ts'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { ContextStore } from '../../../src/context-sharing/store/context-store.ts'
import {
  Closers,
  modelBytes,
  modelFiles,
  openStore,
  storedFiles,
  writeFiles,
} from '../../../testing/sharing-peers.ts'

const closers = new Closers()
afterEach(() => closers.run())

const folderWith = async (files: Record<string, Uint8Array | string>): Promise<string> =>
  await writeFiles(await closers.temporaryFolder(), files)

/** A safetensors file with a header of the length given. */
function safetensors(headerBytes: number, data: Uint8Array): Uint8Array {
  const header = new TextEncoder().encode('{}'.padEnd(headerBytes, ' '))
  const bytes = new Uint8Array(8 + headerBytes + data.byteLength)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerBytes), true)
  bytes.set(header, 8)
  bytes.set(data, 8 + headerBytes)
  return bytes
}

describe('importing a folder', () => {
  it('gives the same id for the same content, whatever the name, the place and the order of writing', async () => {
    const files = modelFiles('same', CHUNK_BYTES + 5)
    const reversed = Object.fromEntries(Object.entries({ ...files, 'notes.md': 'mine' }).toReversed())
    const [left, right] = await Promise.all([openStore(closers), openStore(closers)])
    const first = await left.import(await folderWith(files), { name: 'one' })
    const second = await right.import(await folderWith(reversed), { name: 'two' })
    expect(second.contextId).toBe(first.contextId)
    expect(first).toMatchObject({ files: 4, bytes: CHUNK_BYTES + 5 + 5000 + 17 + 21, leftOut: ['README.md'] })
  })

  it('gives another id for another byte, another path or another dtype', async () => {
    const store = await openStore(closers)
    const files = modelFiles('same', 100)
    const folder = await folderWith(files)
    const ids = [
      await store.import(folder),
      await store.import(await folderWith({ ...files, 'config.json': '{"model_type":"tesT"}' })),
      await store.import(folder, { runtime: { dtype: 'fp16' } }),
      await store.import(await folderWith({ ...files, 'vocab.json': '{}' })),
    ].map(({ contextId }) => contextId)
    expect(new Set(ids).size).toBe(4)
  })

  it('lays the files out under their own paths, for this user alone', async () => {
    const store = await openStore(closers)
    const files = modelFiles('layout', 100)
    const { contextId } = await store.import(await folderWith(files), { name: 'org/layout' })
    const folder = store.folder(contextId)
    expect(await readFile(join(folder, 'onnx/model.onnx'))).toEqual(
      Buffer.from(files['onnx/model.onnx'] ?? ''),
    )
    expect((await stat(join(folder, 'tokenizer.json'))).mode & 0o777).toBe(0o600)
    expect((await stat(join(folder, 'onnx'))).mode & 0o777).toBe(0o700)
    expect(store.list()).toMatchObject([
      { contextId, names: ['org/layout'], tier: { kind: 'stored' }, runtime: { entry: 'onnx/model.onnx' } },
    ])
  })

  it('tells of its name, so that whoever advertises it says that too', async () => {
    const store = await openStore(closers)
    const told: string[][] = []
    store.onChange((contextId) => told.push(store.entry(contextId)?.names ?? []))
    const { contextId } = await store.import(await folderWith(modelFiles('named', 100)), { name: 'one' })
    expect(told.at(-1)).toEqual(['one'])
    await store.setName('two', contextId)
    expect(told.at(-1)).toEqual(['one', 'two'])
  })

  it('starts the chunk grid anew where safetensors data begins', async () => {
    const store = await openStore(closers)
    const data = modelBytes('tensors', 2 * CHUNK_BYTES + 9)
    const grids = []
    for (const headerBytes of [64, 640]) {
      const folder = await folderWith({ 'model.safetensors': safetensors(headerBytes, data) })
      const { contextId } = await store.import(folder)
      const file = store.held(contextId)?.manifest.files[0]
      expect(file?.segments).toEqual([8 + headerBytes, data.byteLength])
      grids.push(Buffer.from(file?.chunks ?? []).subarray(32))
    }
    expect(grids[0]).toEqual(grids[1])
  })

  it('takes a file that only looks like safetensors as one segment', async () => {
    const store = await openStore(closers)
    const { contextId } = await store.import(
      await folderWith({ 'model.safetensors': modelBytes('not', 5000) }),
    )
    expect(store.held(contextId)?.manifest.files[0]?.segments).toEqual([5000])
  })

  it('copies: the original may change or go', async () => {
    const store = await openStore(closers)
    const folder = await folderWith(modelFiles('copied', 100))
    const { contextId } = await store.import(folder)
    const before = await storedFiles(store, contextId)
    await writeFile(join(folder, 'onnx/model.onnx'), 'other')
    expect(await storedFiles(store, contextId)).toEqual(before)
  })

  it('stores a file that contexts share once', async () => {
    const closersFolder = await closers.temporaryFolder()
    const store = await openStore(closers, {}, closersFolder)
    const files = modelFiles('shared', 1000)
    await store.import(await folderWith(files))
    await store.import(await folderWith({ ...files, 'config.json': '{}' }))
    expect(await readdir(join(closersFolder, 'blobs'))).toHaveLength(5)
  })
})

describe('importing is refused, naming the file,', () => {
  const refused = async (folder: string, message: string | RegExp): Promise<void> => {
    const store = await openStore(closers)
    await expect(store.import(folder)).rejects.toMatchObject({
      code: 'context-invalid',
      message: expect.stringMatching(message),
    })
    expect(store.list()).toEqual([])
  }

  it('for a symbolic link to a file', async () => {
    const folder = await folderWith(modelFiles('link', 10))
    await symlink('/etc/passwd', join(folder, 'vocab.json'))
    await refused(folder, /"vocab\.json" is a symbolic link.*cp -rL/)
  })

  it('for a symbolic link to a folder', async () => {
    const folder = await folderWith({ 'config.json': '{}' })
    await symlink(await folderWith({ 'model.onnx': 'x' }), join(folder, 'onnx'))
    await refused(folder, '"onnx" is a symbolic link')
  })

  it('for a hard link', async () => {
    const folder = await folderWith(modelFiles('hard', 10))
    await link(join(folder, 'onnx/model.onnx'), join(folder, 'elsewhere'))
    await refused(folder, '"onnx/model.onnx" is a hard link')
  })

  it('for a socket', async () => {
    const folder = await folderWith(modelFiles('socket', 10))
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(join(folder, 'config.sock'), resolve))
    closers.add(() => new Promise((resolve) => server.close(resolve)))
    await refused(folder, '"config.sock" is neither a file nor a folder')
  })

  it('for names that differ only in case', async () => {
    await refused(
      await folderWith({ 'model.onnx': 'x', 'Config.json': '', 'config.json': '' }),
      'differ only in case',
    )
  })

  it('for a backslash in a name', async () => {
    await refused(await folderWith({ 'model.onnx': 'x', 'a\\tokenizer.json': '' }), 'has a backslash')
  })

  it('for a folder that is not there, or a file', async () => {
    await refused('/does/not/exist', 'the folder /does/not/exist does not exist')
    await refused(join(await folderWith({ x: '' }), 'x'), 'does not exist')
  })

  it('for a folder without a model', async () => {
    await refused(await folderWith({ 'config.json': '{}' }), 'no model found in')
  })

  it('for a folder that is far too deep', async () => {
    const folder = await closers.temporaryFolder()
    await mkdir(join(folder, 'd/'.repeat(IMPORT_DEPTH_MAX + 1)), { recursive: true })
    await refused(folder, 'more than a model')
  })

  it('for a name that cannot be one', async () => {
    const store = await openStore(closers)
    const folder = await folderWith(modelFiles('name', 10))
    for (const name of ['', '../x', 'a b', '-x', `bafyrei${'a'.repeat(52)}`, 'x'.repeat(129)]) {
      await expect(store.import(folder, { name })).rejects.toMatchObject({ code: 'context-invalid' })
    }
  })

  it('when the disk would be too full, and nothing is left behind', async () => {
    const folder = await closers.temporaryFolder()
    const store = new ContextStore(
      { clock: systemClock, log: silentLogger },
      { folder, keepFree: { bytes: Number.MAX_SAFE_INTEGER } },
    )
    await store.open()
    closers.add(() => store.close())
    await expect(store.import(await folderWith(modelFiles('full', 10)))).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringContaining('Free some space'),
    })
    expect(await readdir(join(folder, 'incoming'))).toEqual([])
    expect(store.list()).toEqual([])
  })
})

describe('the store', () => {
  it('finds a context by name, by id, and by the start of its id', async () => {
    const store = await openStore(closers)
    const { contextId } = await store.import(await folderWith(modelFiles('find', 10)), { name: 'demo' })
    const unknown = `bafyrei${'a'.repeat(52)}`
    expect(store.resolve('demo')).toBe(contextId)
    expect(store.resolve(contextId)).toBe(contextId)
    expect(store.resolve(contextId.slice(0, 20))).toBe(contextId)
    expect(store.resolve(unknown)).toBe(unknown)
    expect(store.tier(unknown)).toEqual({ kind: 'absent' })
    expect(() => store.folder(unknown)).toThrow(expect.objectContaining({ code: 'context-unavailable' }))
    for (const other of ['dem', 'bafyrei', '']) {
      expect(() => store.resolve(other)).toThrow(expect.objectContaining({ code: 'context-unknown' }))
    }
  })

  it('knows the same after it was closed and opened', async () => {
    const folder = await closers.temporaryFolder()
    const store = await openStore(closers, {}, folder)
    const { contextId } = await store.import(await folderWith(modelFiles('again', 10)), { name: 'demo' })
    const list = store.list()
    await store.close()
    const again = await openStore(closers, {}, folder)
    expect(again.list()).toEqual(list)
    expect(again.resolve('demo')).toBe(contextId)
  })

  it('does not claim a context whose files are damaged', async () => {
    const folder = await closers.temporaryFolder()
    const store = await openStore(closers, {}, folder)
    const { contextId } = await store.import(await folderWith(modelFiles('damaged', 5000)))
    await truncate(join(store.folder(contextId), 'onnx/model.onnx_data'), 10)
    await store.close()
    const again = await openStore(closers, {}, folder)
    expect(again.tier(contextId)).toMatchObject({ kind: 'partial' })
    expect(again.held(contextId)?.missing()).toHaveLength(1)
  })

  it('forgets a context whose manifest is damaged', async () => {
    const folder = await closers.temporaryFolder()
    const store = await openStore(closers, {}, folder)
    const { contextId } = await store.import(await folderWith(modelFiles('damaged', 10)))
    await store.close()
    await writeFile(join(folder, 'manifests', contextId), 'x')
    expect((await openStore(closers, {}, folder)).tier(contextId).kind).toBe('absent')
  })

  it('says that its names are damaged, and what to do', async () => {
    const folder = await closers.temporaryFolder()
    await writeFile(join(folder, 'names.json'), '{"version":1,"names":{"../x":1}}')
    const store = new ContextStore({ clock: systemClock, log: silentLogger }, { folder })
    await expect(store.open()).rejects.toMatchObject({
      code: 'data-corrupt',
      message: expect.stringContaining('delete the file'),
    })
  })

  it('makes the folder anew when it was taken away', async () => {
    const folder = await closers.temporaryFolder()
    const store = await openStore(closers, {}, folder)
    const source = await folderWith(modelFiles('folder', 10))
    const { contextId } = await store.import(source)
    await rename(store.folder(contextId), join(folder, 'elsewhere'))
    await store.close()
    const again = await openStore(closers, {}, folder)
    expect(again.tier(contextId)).toMatchObject({ kind: 'partial', share: 1 })
    await again.complete(contextId)
    expect(again.tier(contextId)).toEqual({ kind: 'stored' })
  })

  it('takes over the blobs of an earlier store, which named them by the hash of the whole file alone', async () => {
    const folder = await closers.temporaryFolder()
    const store = await openStore(closers, {}, folder)
    const { contextId } = await store.import(await folderWith(modelFiles('earlier', 1000)))
    const files = await storedFiles(store, contextId)
    await store.close()
    await mkdir(join(folder, 'grids'))
    for (const key of await readdir(join(folder, 'blobs'))) {
      await writeFile(join(folder, 'grids', key), '')
      await rename(join(folder, 'blobs', key), join(folder, 'blobs', key.slice(0, key.indexOf('-'))))
    }
    await writeFile(join(folder, 'blobs', '00'.repeat(32)), 'never checked')
    const again = await openStore(closers, {}, folder)
    expect(again.tier(contextId)).toEqual({ kind: 'stored' })
    expect(await storedFiles(again, contextId)).toEqual(files)
    const held = again.held(contextId)!
    for (const chunk of held.held) expect(await held.check(chunk)).toBe(true)
    expect(await readdir(join(folder, 'blobs'))).toHaveLength(4)
    expect(await readdir(folder)).not.toContain('grids')
  })

  it('removes a context, and only files that no other uses', async () => {
    const folder = await closers.temporaryFolder()
    const store = await openStore(closers, {}, folder)
    const files = modelFiles('removed', 1000)
    const kept = await store.import(await folderWith(files))
    const removed = await store.import(await folderWith({ ...files, 'config.json': '{}' }), { name: 'gone' })
    await store.remove(removed.contextId)
    expect(store.tier(removed.contextId)).toEqual({ kind: 'absent' })
    expect(() => store.resolve('gone')).toThrow(expect.objectContaining({ code: 'context-unknown' }))
    expect(Object.keys(await storedFiles(store, kept.contextId))).toHaveLength(4)
    expect(await readdir(join(folder, 'blobs'))).toHaveLength(4)
    await store.remove(kept.contextId)
    for (const part of ['blobs', 'parts', 'manifests', 'folders']) {
      expect(await readdir(join(folder, part))).toEqual([])
    }
    await rm(folder, { recursive: true })
  })
})
