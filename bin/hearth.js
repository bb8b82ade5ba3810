#!/usr/bin/env -S node --max-semi-space-size=8
// Starts Hearth on a Node that can run it. Plain JavaScript, so that an old Node can say what is wrong.
// The young generation is small, since V8 gives it 130 MB of a large machine, and a submitter fills them.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import module from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import v8 from 'node:v8'

const NODE_MAJOR_MIN = 24
const bundledNode = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url))

if (Number.parseInt(process.versions.node, 10) >= NODE_MAJOR_MIN) {
  // The old one is collected when it has grown by a fifth. V8 lets it grow to several times what is in use. A peer that
  // serves sets it anew: src/node/peer-heap.ts.
  v8.setFlagsFromString('--heap-growing-percent=20')
  rememberCompiledCode()
  await import('../src/cli/main.ts')
} else if (existsSync(bundledNode)) {
  const parameters = [...process.execArgv, fileURLToPath(import.meta.url), ...process.argv.slice(2)]
  const child = spawn(bundledNode, parameters, { stdio: 'inherit' })
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  // A terminal gives Ctrl-C to the child by itself; twice would mean "at once".
  process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'))
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

/**
 * Keeps compiled code from one start to the next, in the user's own cache folder: it halves the time
 * to start, for this process and for those that it starts.
 */
function rememberCompiledCode() {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  const { directory } = module.enableCompileCache(
    process.env.NODE_COMPILE_CACHE || join(cache, 'hearth', 'compiled'),
  )
  if (directory !== undefined) process.env.NODE_COMPILE_CACHE = directory
}
