import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { readOutput, TestSwarm } from '../../testing/process-swarm.ts'

let swarm: TestSwarm
beforeEach(async () => {
  swarm = await TestSwarm.create()
})
afterEach(() => swarm.dispose())

describe('weights between real peers', () => {
  test('one holder whose disk is corrupt spoils nothing: the bytes come from the other', async () => {
    await Promise.all([swarm.importFacts('good'), swarm.importFacts('corrupt')])
    await flipBytes(await largestFile(swarm.path('corrupt/contexts')))
    const good = await swarm.up('good')
    const corrupt = await swarm.up('corrupt')
    await swarm.hearth('pause', '--data', good.data.path).exited
    await swarm.hearth('pause', '--data', corrupt.data.path).exited
    const fresh = await swarm.up('fresh')
    const submit = swarm.submit(await swarm.claims(40), swarm.path('out.jsonl'))
    expect(await submit.event('job-summary', 60_000)).toMatchObject({ committed: 40, failed: 0 })
    expect((await fresh.status()).contexts[0]).toMatchObject({ tier: 'warm', share: 1 })
    const [first] = await readOutput(swarm.path('out.jsonl'))
    expect(first?.response?.body.choices[0]?.message.content).toBe('The capital of Libya is Tripoli. yes')
  })
})

async function largestFile(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const sizes = await Promise.all(files.map(async (path) => ({ path, size: (await stat(path)).size })))
  return sizes.sort((a, b) => b.size - a.size)[0]!.path
}

/** Turns one byte in every 64 KiB around. */
async function flipBytes(path: string): Promise<void> {
  const file = await open(path, 'r+')
  const { size } = await file.stat()
  const byte = Buffer.alloc(1)
  for (let at = 1000; at < size; at += 65_536) {
    await file.read(byte, 0, 1, at)
    byte[0] = byte[0]! ^ 0xff
    await file.write(byte, 0, 1, at)
  }
  await file.close()
}
