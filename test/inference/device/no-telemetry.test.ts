import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../../testing/temporary-folder.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const LOADS = /^import (?!type ).*'onnxruntime-node'$/m
const STOPS = /^import '.*\/no-telemetry\.ts'$/m

test('every file that loads onnxruntime stops its telemetry first', () => {
  const files = ['src', 'testing', 'bench', 'test'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.includes('node_modules'))
      .map((name) => join(folder, name)),
  )
  const loading = files
    .map((name) => ({ name, text: readFileSync(join(ROOT, name), 'utf8') }))
    .filter(({ text }) => LOADS.test(text))
  const late = loading.filter(({ text }) => {
    const stops = STOPS.exec(text)?.index ?? Infinity
    return stops > text.search(LOADS)
  })
  expect(loading.length).toBeGreaterThan(4)
  expect(late.map(({ name }) => name)).toEqual([])
})

test('a process that runs a model leaves no file in an empty home', () => {
  const home = temporaryFolder('home')
  const probe = join(ROOT, 'src/inference/device/device-probe-main.ts')
  const { status } = spawnSync(process.execPath, [probe, 'cpu'], {
    env: { PATH: process.env['PATH'], HOME: home },
    encoding: 'utf8',
  })
  expect(status).toBe(0)
  expect(readdirSync(home, { recursive: true })).toEqual([])
})
