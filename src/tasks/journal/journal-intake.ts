import { HearthError } from '../../base/errors.ts'
import type { JournalFile } from './journal-file.ts'
import { hashOf } from './row-hash.ts'
import { isLineError, type JobLine, type LineError } from '../job/job-file.ts'

/** Bad lines that are kept and shown; further ones are only counted. */
const LINE_ERRORS_KEPT = 1000

/** Writes a job's lines into its journal; returns how many there are. Throws `input-invalid` with the bad lines. */
export async function insertRequests(
  file: JournalFile,
  inputPath: string,
  lines: AsyncIterable<JobLine | LineError>,
): Promise<number> {
  const insert = file.prepare(
    `INSERT INTO request (n, line, customId, url, body, keyHash, bodyHash) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO NOTHING`,
  )
  const earlier = file.prepare('SELECT line FROM request WHERE customId = ?')
  const errors: LineError[] = []
  let errorCount = 0
  const report = (error: LineError): void => {
    errorCount += 1
    if (errors.length < LINE_ERRORS_KEPT) errors.push(error)
  }
  const isNew = ({ line, customId, url, body }: JobLine): boolean =>
    insert.run(n, line, customId, url, body, hashOf(n, line, customId), hashOf(n, url, body)) === 1
  let n = 0
  for await (const entry of lines) {
    if (isLineError(entry)) {
      report(entry)
    } else if (isNew(entry)) {
      n += 1
    } else {
      const first = earlier.get(entry.customId)?.['line']
      report({
        line: entry.line,
        message: `custom_id "${entry.customId}" is already used in line ${String(first)}`,
      })
    }
  }
  if (errorCount > 0) throw invalidInput(inputPath, errors, errorCount)
  if (n === 0)
    throw new HearthError('input-invalid', `${inputPath} has no requests: write one JSON object per line`)
  return n
}

function invalidInput(inputPath: string, errors: LineError[], errorCount: number): HearthError {
  const lines = errorCount === 1 ? '1 line is not a request' : `${errorCount} lines are not requests`
  return new HearthError('input-invalid', `${inputPath}: ${lines}; nothing was run`, {
    data: { errors, errorCount },
  })
}
