import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/base/log/logger.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { ContextStore } from '../../../src/context-sharing/store/context-store.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

let root: string
let repo: string
let snapshot: string
let store: ContextStore

beforeEach(async () => {
  root = temporaryFolder('snapshot')
  repo = join(root, 'hub', 'models--owner--tiny')
  snapshot = join(repo, 'snapshots', 'a'.repeat(40))
  store = new ContextStore(
    { clock: systemClock, log: silentLogger },
    { folder: join(root, 'contexts'), keepFree: { bytes: 0 } },
  )
  await store.open()
  await mkdir(join(repo, 'blobs'), { recursive: true })
  await link('config.json', '{}', '1'.repeat(40))
  await link('onnx/model.onnx', 'weights')
  await link('README.md', '# tiny', '2'.repeat(40))
})
afterEach(async () => {
  await store.close()
  await rm(root, { recursive: true, force: true })
})

/** Puts a file into the cache as the hub's clients do. */
async function link(path: string, text: string, blob = createHash('sha256').update(text).digest('hex')) {
  await writeFile(join(repo, 'blobs', blob), text)
  await linkTo(path, join(repo, 'blobs', blob))
}

async function linkTo(path: string, target: string): Promise<void> {
  const place = join(snapshot, path)
  await mkdir(dirname(place), { recursive: true })
  await symlink(relative(dirname(place), target), place)
}

describe("a snapshot of Hugging Face's cache", () => {
  test('is imported: its links are the cache’s own, and the files behind them are copied', async () => {
    const { contextId, files, leftOut } = await store.import(snapshot)
    expect({ files, leftOut }).toEqual({ files: 2, leftOut: ['README.md'] })
    await rm(repo, { recursive: true })
    const path = join(store.folder(contextId), 'onnx/model.onnx')
    expect(await readFile(path, 'utf8')).toBe('weights')
  })

  test('is the same context as a folder with the same files', async () => {
    const folder = join(root, 'plain')
    await mkdir(join(folder, 'onnx'), { recursive: true })
    await writeFile(join(folder, 'config.json'), '{}')
    await writeFile(join(folder, 'onnx/model.onnx'), 'weights')
    const [plain, cached] = [await store.import(folder), await store.import(snapshot)]
    expect(cached.contextId).toBe(plain.contextId)
  })

  test('whose weights do not have the hash that the blob is named by is refused', async () => {
    await link('onnx/model.onnx_data', 'data', 'f'.repeat(64))
    await expect(store.import(snapshot)).rejects.toMatchObject({
      code: 'context-invalid',
      message: expect.stringContaining('"onnx/model.onnx_data" is damaged'),
    })
  })

  test('whose blob was removed is refused, unless the file does not belong to the context', async () => {
    await rm(join(repo, 'blobs', '2'.repeat(40)))
    await store.import(snapshot)
    await rm(join(repo, 'blobs', '1'.repeat(40)))
    await expect(store.import(snapshot)).rejects.toMatchObject({ code: 'context-invalid' })
  })

  test.each([
    ['out of the cache', () => join(root, 'secret')],
    ['to another repository’s blob', () => join(root, 'hub', 'models--other', 'blobs', '3'.repeat(40))],
    ['to a file of the repository that is no blob', () => join(repo, 'refs', 'main')],
    ['through a folder among the blobs', () => join(repo, 'blobs', 'x', '3'.repeat(40))],
    ['to a blob with a name that is no hash', () => join(repo, 'blobs', 'secret')],
    ['to another file of the snapshot', () => join(snapshot, 'config.json')],
  ])('with a link %s is refused', async (_where, target) => {
    await mkdir(dirname(target()), { recursive: true })
    await writeFile(target(), 'secret', { flag: 'a' })
    await linkTo('tokenizer.json', target())
    await expect(store.import(snapshot)).rejects.toMatchObject({
      code: 'context-invalid',
      message: expect.stringContaining('"tokenizer.json" is a symbolic link'),
    })
  })

  test('a blob that is a link itself is refused', async () => {
    await writeFile(join(root, 'secret'), 'secret')
    await symlink(join(root, 'secret'), join(repo, 'blobs', '4'.repeat(40)))
    await linkTo('tokenizer.json', join(repo, 'blobs', '4'.repeat(40)))
    await expect(store.import(snapshot)).rejects.toMatchObject({ code: 'context-invalid' })
  })

  test('links in any other folder are refused, wherever they lead', async () => {
    const folder = join(root, 'plain')
    await mkdir(folder)
    await writeFile(join(folder, 'model.onnx'), 'weights')
    await symlink('model.onnx', join(folder, 'config.json'))
    await expect(store.import(folder)).rejects.toMatchObject({ code: 'context-invalid' })
  })
})
