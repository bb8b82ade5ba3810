import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { HearthError } from '../../base/errors.ts'
import { LineWriter } from '../../base/line-writer.ts'
import type { JournalLine } from './journal.ts'

/**
 * Writes the settled lines of a job in OpenAI batch output form: to a file beside `path`, made
 * durable, then renamed over it, so that a reader sees an old file or a whole new one.
 * Throws `output-unwritable`.
 */
export async function writeOutputFile(
  path: string,
  jobId: string,
  lines: Iterable<JournalLine>,
): Promise<void> {
  const partial = `${path}.partial`
  try {
    const file = await open(partial, 'w', 0o644)
    try {
      const writer = new LineWriter(file)
      for (const line of lines) await writer.add(JSON.stringify(outputLine(jobId, line)))
      await writer.flush()
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(partial, path)
    await syncFolder(dirname(path))
  } catch (cause) {
    await rm(partial, { force: true })
    const why = (cause as Error).message
    throw new HearthError(
      'output-unwritable',
      `cannot write ${path}: ${why}. The results are safe in the job's journal; run the same command again when it can be written`,
      { cause },
    )
  }
}

/** One line of OpenAI batch output: a response when a peer answered, else the error. */
export function outputLine(jobId: string, line: JournalLine): object {
  const id = `batch_req_${jobId.slice(0, 12)}_${line.n}`
  const body = JSON.parse(line.body) as Record<string, unknown>
  if (!line.ok) return { id, custom_id: line.customId, response: null, error: body }
  return {
    id,
    custom_id: line.customId,
    response: { status_code: line.statusCode, request_id: id, body },
    error: null,
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
