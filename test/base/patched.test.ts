import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { requirePatchable } from '../../src/base/patched.ts'

const yamux = new URL('../../node_modules/@libp2p/yamux/package.json', import.meta.url)
const { version } = JSON.parse(readFileSync(yamux, 'utf8')) as { version: string }

test('an expected method is returned unchanged', () => {
  const target = { send: (text: string): string => text }
  expect(requirePatchable('@libp2p/yamux', target, { send: 1 })).toBe(target)
})

test.each([
  [{}, '"send" is undefined'],
  [{ send: 7 }, '"send" is number'],
  [{ send: () => {} }, '"send" takes 0 parameters'],
])('%o is refused, with the package, its version and what to do', (target, why) => {
  const refused = (): object =>
    requirePatchable<{ send?: unknown }, 'send'>('@libp2p/yamux', target, { send: 1 })
  expect(refused).toThrow(`@libp2p/yamux ${version} does not fit Hearth: ${why}`)
  expect(refused).toThrow('Run "npm ci"')
})

test('of Node, its own version is named', () => {
  expect(() => requirePatchable<{ gc?: unknown }, 'gc'>('node', {}, { gc: 0 })).toThrow(
    `node ${process.version} does not fit Hearth: "gc" is undefined`,
  )
})
