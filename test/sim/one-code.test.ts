import { execFileSync } from 'node:child_process'
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../testing/temporary-folder.ts'

const ROOT = join(import.meta.dirname, '../..')
const SCRIPT = 'testing/first-credit.ts'
const CORE = 'src/tasks/worker/core/worker-state.ts'
const folder = temporaryFolder('one-code')

function firstCredit(root: string): { simulated: number; live: number } {
  const answer = execFileSync(process.execPath, [join(root, SCRIPT), join(folder, 'out')], {
    encoding: 'utf8',
    timeout: 60_000,
  })
  return JSON.parse(answer) as { simulated: number; live: number }
}

test('a constant that is changed in a core changes the simulated peer and the live one alike', () => {
  expect(firstCredit(ROOT)).toEqual({ simulated: 2, live: 2 })
  const changed = join(folder, 'changed')
  for (const part of ['src', 'sim', 'testing', 'package.json'])
    cpSync(join(ROOT, part), join(changed, part), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(changed, 'node_modules'))
  const text = readFileSync(join(changed, CORE), 'utf8')
  const other = text.replace('requestsPerSlot: 2,', 'requestsPerSlot: 5,')
  expect(other).not.toBe(text)
  writeFileSync(join(changed, CORE), other)
  expect(firstCredit(changed)).toEqual({ simulated: 5, live: 5 })
}, 60_000)
