import { mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { isHearthError } from '../../src/base/errors.ts'
import { lockForThisProcess } from '../../src/base/process-lock.ts'
import { asStorageError, pathOf } from '../../src/base/storage-errors.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

const errno = (code: string): Error => Object.assign(new Error(code), { code, path: '/data/file' })
const sqlite = (errcode: number): Error => Object.assign(new Error('sqlite'), { errcode })

function codeOf(error: Error): string | undefined {
  const named = asStorageError(error, '/data/file')
  if (!isHearthError(named)) return undefined
  expect(named.message).toContain('/data/file')
  expect(named.data).toEqual({ path: '/data/file' })
  expect(named.cause).toBe(error)
  return named.code
}

test.each([
  ['EROFS', 'data-inaccessible'],
  ['EACCES', 'data-inaccessible'],
  ['EPERM', 'data-inaccessible'],
  ['EIO', 'data-corrupt'],
  ['ENOSPC', 'disk-full'],
  ['EDQUOT', 'disk-full'],
  ['EFBIG', 'disk-full'],
  ['ENOENT', undefined],
])('an %s of a file is %s', (code, expected) => {
  expect(codeOf(errno(code))).toBe(expected)
})

test.each([
  ['PERM', 3, 'data-inaccessible'],
  ['READONLY', 8, 'data-inaccessible'],
  ['READONLY_DIRECTORY', 1544, 'data-inaccessible'],
  ['CANTOPEN', 14, 'data-inaccessible'],
  ['IOERR_READ', 266, 'data-corrupt'],
  ['IOERR_SHORT_READ', 522, 'data-corrupt'],
  ['IOERR_WRITE', 778, 'disk-full'],
  ['CORRUPT', 11, 'data-corrupt'],
  ['FULL', 13, 'disk-full'],
  ['NOTADB', 26, 'data-corrupt'],
  ['MISUSE', 21, undefined],
])('SQLite’s %s (%i) is %s', (_name, errcode, expected) => {
  expect(codeOf(sqlite(errcode))).toBe(expected)
})

test('an error of no file stays as it is', () => {
  const error = new TypeError('a defect')
  expect(asStorageError(error, 'x')).toBe(error)
  expect(pathOf(error)).toBeUndefined()
  expect(pathOf(errno('EROFS'))).toBe('/data/file')
})

test('a lock file that is no database, or cannot be one, has a code', async () => {
  const path = join(temporaryFolder('lock'), 'lock')
  await writeFile(path, 'this is not a database, and it is long enough to be looked at as one')
  expect(() => lockForThisProcess(path, 'locked')).toThrow(expect.objectContaining({ code: 'data-corrupt' }))
  mkdirSync(`${path}2`)
  expect(() => lockForThisProcess(`${path}2`, 'locked')).toThrow(
    expect.objectContaining({ code: 'data-inaccessible' }),
  )
})
