// Lets a job file's reader ask the engines: the domains do not know each other.
import { isHearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import { findStoredContext } from '../../context-sharing/store/stored-context.ts'
import { DECLARATION_RUNTIME } from '../../inference/endpoint/declaration.ts'
import { readRequestTarget } from '../../inference/engines/request-target.ts'
import { checkRequest, type RequestTarget } from '../../inference/text/request-check.ts'
import type { BodyCheck } from '../../tasks/job/job-file.ts'
import type { DataFolder } from '../home/data-folder.ts'

/** Checks bodies against the engine of `context`, as far as this machine knows that context. */
export async function bodyCheckOf(log: Logger, data: DataFolder, context: string): Promise<BodyCheck> {
  const target = await targetOf(log, data, context)
  return (url, body) => {
    try {
      checkRequest(target, { url, body })
      return undefined
    } catch (error) {
      if (isHearthError(error, 'request-invalid')) return error.message
      throw error
    }
  }
}

async function targetOf(log: Logger, data: DataFolder, context: string): Promise<RequestTarget> {
  const stored = await findStoredContext(data.contextsPath, context)
  if (stored === undefined) return { kind: 'unknown' }
  if (stored.runtime.engine === DECLARATION_RUNTIME.engine) return { kind: 'endpoint' }
  if (stored.folder === undefined) return { kind: 'unknown' }
  try {
    return await readRequestTarget(stored.folder)
  } catch (error) {
    // Another peer may run what this version cannot read; the engine there checks each request.
    log.info({ context, why: messageOf(error) }, 'the engine of this context is not known here')
    return { kind: 'unknown' }
  }
}
