// A thread that runs scenarios one after the other, for run-many.ts.
import { parentPort } from 'node:worker_threads'
import { isHearthError } from '../../src/base/errors.ts'
import { runOnce, type RunRequest } from './run.ts'
import type { RunAnswer } from './run-many.ts'

parentPort?.on('message', ({ index, request }: { index: number; request: RunRequest }) => {
  parentPort?.postMessage(answerTo(index, request))
})

function answerTo(index: number, request: RunRequest): RunAnswer {
  try {
    return { index, result: runOnce(request) }
  } catch (error) {
    const { message, stack } = error as Error
    return { index, error: { code: isHearthError(error) ? error.code : undefined, message, stack } }
  }
}
