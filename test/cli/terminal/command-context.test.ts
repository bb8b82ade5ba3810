import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'

const CONTEXT = new URL('../../../src/cli/terminal/command-context.ts', import.meta.url).href

/** Waits as libp2p does while it closes: for a timer that holds no process. */
const SCRIPT = `
  const { runCommand } = await import(${JSON.stringify(CONTEXT)})
  await runCommand({ json: true }, async ({ clock }) => {
    await new Promise((resolve) => clock.schedule(100, resolve, { background: true }))
    return 7
  })
`

test('a command runs to its end, also while nothing but a background timer is waited for', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', SCRIPT], { stdio: 'inherit' })
  expect(await once(child, 'exit')).toEqual([7, null])
})
