// Opens a context as a job will, in a process of its own: whether it can run is known when it is added. A model
// that native code does not survive ends that process and nothing else.
import { fork } from 'node:child_process'
import { freemem } from 'node:os'
import type { Clock } from '../../base/clock.ts'
import { HearthError, type ErrorCode } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import { withDeadline } from '../../base/waiting/deadline.ts'
import { estimateMemoryBytes } from '../contract/model-file.ts'
import { childEnvironment } from './engine-process.ts'

const TRIAL_ENTRY = new URL('./context-trial-main.ts', import.meta.url)
const TRIAL_MS_MAX = 120_000
/** A larger model is read and checked, but its session is not opened: its weights may not be mapped. */
const FREE_MEMORY_SHARE = 0.5

/** The verdict of the trial's process. `undecided`: the machine was at fault, or may be. */
export type TrialAnswer =
  | { kind: 'opened' }
  | { kind: 'refused'; code: ErrorCode; message: string }
  | { kind: 'undecided'; why: string }

/**
 * Throws `context-invalid` or `model-unsupported` when no job could run on the context in `folder`, or the
 * signal's reason. A trial that fails for want of memory or time refuses nothing.
 */
export async function tryContext(
  { clock, log }: { clock: Clock; log: Logger },
  folder: string,
  signal?: AbortSignal,
): Promise<void> {
  const opensSession = (await estimateMemoryBytes(folder)) <= freemem() * FREE_MEMORY_SHARE
  const answer = await ask(clock, { folder, opensSession }, signal)
  if (answer.kind === 'refused') throw new HearthError(answer.code, answer.message, { data: { folder } })
  if (answer.kind === 'undecided') log.warn({ folder, why: answer.why }, 'context was not tried to the end')
}

async function ask(
  clock: Clock,
  trial: { folder: string; opensSession: boolean },
  signal: AbortSignal | undefined,
): Promise<TrialAnswer> {
  const whose = 'the trial of the context'
  try {
    return await withDeadline({ clock, ms: TRIAL_MS_MAX, whose, signal }, (inner) => runChild(trial, inner))
  } catch (error) {
    signal?.throwIfAborted()
    return { kind: 'undecided', why: error instanceof Error ? error.message : String(error) }
  }
}

function runChild(
  { folder, opensSession }: { folder: string; opensSession: boolean },
  signal: AbortSignal,
): Promise<TrialAnswer> {
  return new Promise((resolve, reject) => {
    const child = fork(TRIAL_ENTRY, [folder, opensSession ? 'session' : 'files'], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      env: childEnvironment(),
    })
    const end = (): void => void child.kill('SIGKILL')
    signal.addEventListener('abort', end, { once: true })
    child.once('message', (answer) => {
      resolve(answer as TrialAnswer)
      end()
    })
    child.once('error', reject)
    child.once('exit', (code, killedBy) => {
      signal.removeEventListener('abort', end)
      resolve(afterExit(code, killedBy))
    })
  })
}

/** Signals of native code that crashed are the model's fault; others may be the machine's. */
function afterExit(code: number | null, killedBy: NodeJS.Signals | null): TrialAnswer {
  const end = killedBy ?? `code ${code}`
  const isCrash = ['SIGSEGV', 'SIGABRT', 'SIGFPE', 'SIGILL', 'SIGBUS'].includes(killedBy ?? '')
  if (!isCrash) return { kind: 'undecided', why: `the trial's process ended with ${end}` }
  const message = `onnxruntime crashes when it opens this model (${end}): export it again, with another exporter or opset`
  return { kind: 'refused', code: 'model-unsupported', message }
}
