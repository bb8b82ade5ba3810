import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { TestSwarm } from '../../testing/process-swarm.ts'

const MAIN = fileURLToPath(new URL('../../bin/hearth.js', import.meta.url))

let swarm: TestSwarm
beforeEach(async () => {
  swarm = await TestSwarm.create()
})
afterEach(() => swarm.dispose())

test('a command whose reader has gone ends without a word', async () => {
  const child = spawn(process.execPath, [MAIN, 'context', 'ls', '--data', swarm.path('a')])
  child.stdout.destroy()
  let words = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words += text))
  const [status] = (await once(child, 'close')) as [number]
  expect({ status, words }).toEqual({ status: 0, words: '' })
})
