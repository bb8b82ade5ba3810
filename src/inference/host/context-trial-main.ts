// The process of a trial: opens the context in the folder of its first argument, and says whether that works.
import { totalmem } from 'node:os'
import { isHearthError, messageOf } from '../../base/errors.ts'
import { silentLogger } from '../../base/log/logger.ts'
import { systemClock } from '../../base/system-clock.ts'
import { systemRandom } from '../../base/system-random.ts'
import type { TrialAnswer } from './context-trial.ts'
import { checkOrtContext, loadOrtEngine } from '../engines/ort-engine.ts'
import { guardProcess } from './process-guard.ts'

const [, , folder = '', how] = process.argv

/** Unpacked weights are mapped, not copied: the session is there at once. */
const OPTIONS = { engine: 'auto', threads: 1, slots: 1, skipsPrepacking: true } as const

async function open(): Promise<TrialAnswer> {
  try {
    if (how === 'files') await checkOrtContext(folder)
    else {
      const components = { clock: systemClock, random: systemRandom, log: silentLogger }
      await loadOrtEngine(folder, OPTIONS, components)
    }
    return { kind: 'opened' }
  } catch (error) {
    const message = messageOf(error)
    if (isHearthError(error, 'context-invalid') || isHearthError(error, 'model-unsupported'))
      return { kind: 'refused', code: error.code, message }
    return { kind: 'undecided', why: message }
  }
}

guardProcess(totalmem() / 2)
const answer = await open()
process.send?.(answer)
process.once('disconnect', () => process.exit())
