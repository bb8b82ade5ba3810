#!/usr/bin/env node
// Starts Hearth on a Node that can run it. Plain JavaScript, so that an old Node can say what is wrong.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const NODE_MAJOR_MIN = 24
const main = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))
const bundledNode = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url))

if (Number.parseInt(process.versions.node, 10) >= NODE_MAJOR_MIN) {
  await import(main)
} else if (existsSync(bundledNode)) {
  const child = spawn(bundledNode, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: 'inherit',
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? (signal ? 1 : 0)
  })
} else {
  process.stderr.write(
    `hearth: Node ${NODE_MAJOR_MIN} or newer is needed, and this is Node ${process.versions.node}.\n` +
      'Run "npm ci" in the Hearth folder (it brings a Node 24 of its own), or install Node 24 from https://nodejs.org.\n',
  )
  process.exitCode = 3
}
