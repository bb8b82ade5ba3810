import type { DatabaseSync } from 'node:sqlite'
import { HearthError } from '../../base/errors.ts'
import { isLineError, type JobLine, type LineError } from '../job/job-file.ts'

/** Bad lines that are kept and shown; further ones are only counted. */
const LINE_ERRORS_KEPT = 1000

/** Writes a job's lines into its journal. Throws `input-invalid` with the bad lines. */
export async function insertRequests(
  db: DatabaseSync,
  inputPath: string,
  lines: AsyncIterable<JobLine | LineError>,
): Promise<void> {
  const insert = db.prepare(
    'INSERT INTO request (n, line, customId, url, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
  )
  const earlier = db.prepare('SELECT line FROM request WHERE customId = ?')
  const errors: LineError[] = []
  let errorCount = 0
  const report = (error: LineError): void => {
    errorCount += 1
    if (errors.length < LINE_ERRORS_KEPT) errors.push(error)
  }
  let n = 0
  for await (const entry of lines) {
    if (isLineError(entry)) {
      report(entry)
    } else if (insert.run(n, entry.line, entry.customId, entry.url, entry.body).changes === 0) {
      const first = earlier.get(entry.customId)?.['line']
      report({
        line: entry.line,
        message: `custom_id "${entry.customId}" is already used in line ${String(first)}`,
      })
    } else {
      n += 1
    }
  }
  if (errorCount > 0) throw invalidInput(inputPath, errors, errorCount)
  if (n === 0)
    throw new HearthError('input-invalid', `${inputPath} has no requests: write one JSON object per line`)
}

function invalidInput(inputPath: string, errors: LineError[], errorCount: number): HearthError {
  const lines = errorCount === 1 ? '1 line is not a request' : `${errorCount} lines are not requests`
  return new HearthError('input-invalid', `${inputPath}: ${lines}; nothing was run`, {
    data: { errors, errorCount },
  })
}
