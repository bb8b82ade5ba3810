import { chmod, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadOrCreateIdentity } from '../../../src/node/home/identity.ts'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

let folder: string
let path: string
beforeEach(async () => {
  folder = temporaryFolder('identity')
  path = join(folder, 'data', 'identity.key')
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

test('a new key is stored so that only its owner can read it, and is the same ever after', async () => {
  const made = await loadOrCreateIdentity(path)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect((await readFile(path)).byteLength).toBe(68)
  expect((await loadOrCreateIdentity(path)).equals(made)).toBe(true)
})

test('two processes that start at once get the same key', async () => {
  const [one, other] = await Promise.all([loadOrCreateIdentity(path), loadOrCreateIdentity(path)])
  expect(one.equals(other)).toBe(true)
})

test('a key that others may read is refused, with what to do', async () => {
  await loadOrCreateIdentity(path)
  await chmod(path, 0o640)
  await expect(loadOrCreateIdentity(path)).rejects.toMatchObject({
    code: 'config-invalid',
    message: expect.stringContaining('chmod 600'),
  })
})

test.each([
  ['empty', new Uint8Array()],
  ['cut off', new Uint8Array([8, 1, 18, 64, 1, 2, 3])],
  ['something else', new TextEncoder().encode('-----BEGIN OPENSSH PRIVATE KEY-----')],
])('a key file that is %s is refused', async (_what, bytes) => {
  await loadOrCreateIdentity(path)
  await writeFile(path, bytes)
  await expect(loadOrCreateIdentity(path)).rejects.toMatchObject({ code: 'data-corrupt' })
})

test('a key that is a folder is refused', async () => {
  await expect(loadOrCreateIdentity(folder)).rejects.toMatchObject({ code: 'config-invalid' })
})
