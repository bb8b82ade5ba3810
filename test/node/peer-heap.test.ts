import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const PROGRAM = join(import.meta.dirname, '../../testing/transfer-garbage.ts')

test('a peer does not mark its heap again and again while 256 MiB go through it', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--max-semi-space-size=8', PROGRAM, 'peer'])
  // Any other process of Hearth does 4 to 25 times.
  expect(Number(stdout)).toBeLessThanOrEqual(3)
})
