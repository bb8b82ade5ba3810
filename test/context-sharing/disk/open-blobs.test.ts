import { readdirSync, readlinkSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { BLOBS_OPEN_MAX } from '../../../src/base/limits.ts'
import { OpenBlobs } from '../../../src/context-sharing/disk/open-blobs.ts'
import { Closers } from '../../../testing/sharing-peers.ts'

const closers = new Closers()
afterEach(() => closers.run())

async function folderOf(count: number): Promise<string> {
  const folder = await closers.temporaryFolder()
  for (let index = 0; index < count; index += 1) await writeFile(join(folder, String(index)), `text ${index}`)
  return folder
}

const textOf = async (files: OpenBlobs, path: string): Promise<string | undefined> =>
  await files.read(path, async (file) =>
    (await file.read(Buffer.alloc(16), 0, 16, 0)).buffer.toString().replaceAll('\0', ''),
  )

/** What of a folder this process has open; Linux says. */
function openIn(folder: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${descriptor}`)
      return path.startsWith(folder) ? [path] : []
    } catch {
      return []
    }
  })
}

it('reads many files at once, and keeps a bounded number of them open', async () => {
  const count = 3 * BLOBS_OPEN_MAX
  const folder = await folderOf(count)
  const files = new OpenBlobs()
  const all = Array.from({ length: count }, (_value, index) => index)
  const texts = await Promise.all(all.map((index) => textOf(files, join(folder, String(index)))))
  expect(texts).toEqual(all.map((index) => `text ${index}`))
  for (const index of all) await textOf(files, join(folder, String(index)))
  await textOf(files, join(folder, '0'))
  if (process.platform === 'linux') expect(openIn(folder).length).toBeLessThanOrEqual(BLOBS_OPEN_MAX + 1)
  await files.close()
  if (process.platform === 'linux') expect(openIn(folder)).toEqual([])
})

it('says so when a file is not there, and looks again the next time', async () => {
  const folder = await folderOf(1)
  const files = new OpenBlobs()
  const path = join(folder, 'late')
  expect(await textOf(files, path)).toBe(undefined)
  await writeFile(path, 'here')
  expect(await textOf(files, path)).toBe('here')
  await files.drop(path)
  await rm(path)
  expect(await textOf(files, path)).toBe(undefined)
  await files.close()
})
