import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { HearthError } from '../../base/errors.ts'
import { EXIT } from '../terminal/exit-codes.ts'

const MAIN = fileURLToPath(new URL('../../../sim/main.ts', import.meta.url))

/**
 * Runs the simulator as a separate process, so that nothing here imports it. Returns its exit status; throws the
 * signal's reason when it was interrupted.
 */
export async function simCommand(parameters: readonly string[], signal: AbortSignal): Promise<number> {
  if (!existsSync(MAIN)) {
    throw new HearthError(
      'usage',
      `The simulator is not installed, because ${MAIN} is missing. Run "hearth sim" from a clone of the repository`,
    )
  }
  const child = spawn(process.execPath, [MAIN, ...parameters], { stdio: 'inherit' })
  // A terminal sends Ctrl-C to the child, too; `kill` sends it to this process alone.
  const onInterrupt = (): void => void child.kill('SIGTERM')
  signal.addEventListener('abort', onInterrupt, { once: true })
  const [code] = (await once(child, 'exit')) as [number | null]
  signal.throwIfAborted()
  return code ?? EXIT.internal
}
