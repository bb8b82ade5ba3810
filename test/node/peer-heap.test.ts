import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const PROGRAM = join(import.meta.dirname, '../support/transfer-garbage.ts')

/** How often the whole heap is marked while 256 MiB go through libp2p. */
async function markings(what: 'peer' | 'command'): Promise<number> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--max-semi-space-size=8', PROGRAM, what])
  return Number(stdout)
}

test('a peer does not mark its heap again and again while weights go through it, as another process does', async () => {
  const [peer, command] = await Promise.all([markings('peer'), markings('command')])
  expect(peer).toBeLessThanOrEqual(5)
  expect(command).toBeGreaterThan(10)
})
