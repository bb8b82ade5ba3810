import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { HearthError } from '../../base/errors.ts'

const MAIN = fileURLToPath(new URL('../../../sim/main.ts', import.meta.url))

/** Runs the simulator as a separate process, so that nothing here imports it. Returns its exit status. */
export async function simCommand(parameters: readonly string[]): Promise<number> {
  if (!existsSync(MAIN)) {
    throw new HearthError(
      'usage',
      `The simulator is not installed, because ${MAIN} is missing. Run "hearth sim" from a clone of the repository`,
    )
  }
  const child = spawn(process.execPath, [MAIN, ...parameters], { stdio: 'inherit' })
  // The terminal sends Ctrl-C to the child, too; this process waits for it.
  const onInterrupt = (): void => {}
  process.on('SIGINT', onInterrupt)
  try {
    const [code] = (await once(child, 'exit')) as [number | null]
    return code ?? 1
  } finally {
    process.off('SIGINT', onInterrupt)
  }
}
