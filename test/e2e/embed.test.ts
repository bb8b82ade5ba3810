// The example of docs/embedding.md as a program of its own, and what it leaves out.
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { isHearthError, readResults, startPeer } from '../../src/index.ts'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

const ROOT = join(import.meta.dirname, '../..')

test('the example starts a peer, runs a job on it, prints the answers and ends by itself', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['examples/embed.ts'], { cwd: ROOT })
  expect(stdout).toContain('2 of 2 done\n0 requests failed\n')
  expect(stdout).toMatch(/^line-1 .*The capital of Libya is Tripoli\. yes/m)
  expect(stdout).toMatch(/^line-2 .* no"/m)
})

test('the page shows the example as it is', () => {
  const page = readFileSync(join(ROOT, 'docs/embedding.md'), 'utf8')
  expect(page).toContain(`\`\`\`ts\n${readFileSync(join(ROOT, 'examples/embed.ts'), 'utf8')}\`\`\`\n`)
})

test('the page names every function that the package exports', async () => {
  const page = readFileSync(join(ROOT, 'docs/embedding.md'), 'utf8')
  const names = Object.keys(await import('../../src/index.ts'))
  expect(names.filter((name) => !page.includes(`\`${name}`))).toEqual([])
})

test('a data folder has one peer, and is free again after it stops', async () => {
  const dataFolder = temporaryFolder('embed')
  const peer = await startPeer({ dataFolder })
  expect(peer.status().addresses[0]).toContain('/ip4/127.0.0.1/tcp/')
  await expect(startPeer({ dataFolder })).rejects.toSatisfy((error) => isHearthError(error, 'data-in-use'))
  await peer.stop()
  const again = await startPeer({ dataFolder })
  expect(again.peerId).toBe(peer.peerId)
  expect(again.swarm).toBe(peer.swarm)
  await again.stop()
})

test('results are read with their errors, and a line that is none is named', async () => {
  const path = join(temporaryFolder('results'), 'out.jsonl')
  const answer = { custom_id: 'a', response: { status_code: 200, body: { n: 1 } }, error: null }
  const failure = { custom_id: 'b', response: null, error: { code: 'server_error', message: 'no' } }
  writeFileSync(path, `${JSON.stringify(answer)}\n${JSON.stringify(failure)}\n`)
  expect(await Array.fromAsync(readResults(path))).toEqual([
    { customId: 'a', body: { n: 1 }, error: undefined },
    { customId: 'b', body: undefined, error: { code: 'server_error', message: 'no' } },
  ])
  writeFileSync(path, `${JSON.stringify(answer)}\n{}\n`)
  await expect(Array.fromAsync(readResults(path))).rejects.toThrow('line 2 of')
})
