import { availableParallelism } from 'node:os'
import v8 from 'node:v8'
import { Worker } from 'node:worker_threads'
import { HearthError, type ErrorCode } from '../../src/base/errors.ts'
import type { RunRequest } from './run.ts'
import type { RunResult } from './result/run-result.ts'

const WORKER = new URL('./run-worker.ts', import.meta.url)
/** The young generation of a thread. Twice the size is no faster and takes 60 MB more of 500. */
const YOUNG_MB = 48
/** The old generation is collected when it has grown by so much, percent: by itself V8 lets it double and more, and is no faster. */
const OLD_GROWTH = 25

/** The answer of a worker thread to a request. */
export type RunAnswer =
  | { index: number; result: RunResult }
  | { index: number; error: { code: ErrorCode | undefined; message: string; stack: string | undefined } }

/** How many runs go on at once when nobody says. */
export function defaultJobs(): number {
  return availableParallelism()
}

/**
 * Runs all requests, `jobs` at a time in threads of their own; the results are in the order of the
 * requests, and the same whatever `jobs` is. Throws what the first run that fails threw.
 */
export async function runMany(
  requests: readonly RunRequest[],
  jobs: number,
  onDone: (done: number, result: RunResult) => void = () => {},
): Promise<RunResult[]> {
  v8.setFlagsFromString(`--heap-growing-percent=${OLD_GROWTH}`)
  // Pauses do not matter here, and marking the heap at once takes a fifth less time than incrementally.
  v8.setFlagsFromString('--no-incremental-marking')
  // V8 would put objects that live for minutes among those that stay, and leave holes there:
  // a fifth more memory, and no faster.
  v8.setFlagsFromString('--no-allocation-site-pretenuring')
  const results: RunResult[] = []
  let next = 0
  let done = 0
  const serve = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(WORKER, { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB } })
      const give = (): void => {
        if (next >= requests.length) return void worker.terminate().then(() => resolve(), reject)
        worker.postMessage({ index: next, request: requests[next] })
        next += 1
      }
      worker.on('message', (answer: RunAnswer) => {
        if ('error' in answer) {
          void worker.terminate()
          return reject(errorOf(answer.error))
        }
        results[answer.index] = answer.result
        done += 1
        onDone(done, answer.result)
        give()
      })
      worker.on('error', reject)
      give()
    })
  await Promise.all(Array.from({ length: Math.max(1, Math.min(jobs, requests.length)) }, serve))
  return results
}

function errorOf({ code, message, stack }: Extract<RunAnswer, { error: object }>['error']): Error {
  if (code !== undefined) return new HearthError(code, message)
  const error = new Error(message)
  if (stack !== undefined) error.stack = stack
  return error
}
