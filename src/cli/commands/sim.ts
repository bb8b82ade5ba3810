import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { HearthError } from '../../base/errors.ts'

const MAIN = fileURLToPath(new URL('../../../sim/main.ts', import.meta.url))

/** Runs the simulator as a process of its own, as git does its commands: nothing here imports it. Its exit status. */
export async function simCommand(parameters: readonly string[]): Promise<number> {
  if (!existsSync(MAIN)) {
    throw new HearthError('usage', `the simulator is not installed here: ${MAIN} is missing`)
  }
  const child = spawn(process.execPath, [MAIN, ...parameters], { stdio: 'inherit' })
  // A terminal gives Ctrl-C to the child by itself.
  const onInterrupt = (): void => {}
  process.on('SIGINT', onInterrupt)
  try {
    const [code] = (await once(child, 'exit')) as [number | null]
    return code ?? 1
  } finally {
    process.off('SIGINT', onInterrupt)
  }
}
