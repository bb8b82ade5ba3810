// Why lines of a job failed, from its journal.
import type { JournalFile } from './journal-file.ts'

/** Lines that failed for one cause. */
export interface ErrorCause {
  code: string
  /** That of the first of them. */
  message: string
  lines: number
  exampleLine: number
}

/** Causes that are told apart; the lines of further ones are counted together. */
const CAUSES_MAX = 256
const OTHERS = { code: 'other', message: 'further causes; see the output file' }

/**
 * The most frequent causes of error lines. Messages that differ only in numbers and quoted values have one cause;
 * two causes under one code stay apart.
 */
export function commonCauses(file: JournalFile, limit: number): ErrorCause[] {
  const causes = new Map<string, ErrorCause>()
  const rows = file
    .prepare(
      'SELECT line, result.body AS body FROM result LEFT JOIN request USING (n) WHERE ok = 0 ORDER BY result.n',
    )
    .iterate()
  for (const { line, body } of rows) {
    const error = errorOf(body)
    const key = causeOf(error)
    const known = causes.get(key)
    if (known !== undefined) known.lines += 1
    else if (causes.size < CAUSES_MAX) causes.set(key, { ...error, lines: 1, exampleLine: Number(line) })
    else addOther(causes, Number(line))
  }
  return [...causes.values()].sort((one, other) => other.lines - one.lines).slice(0, limit)
}

function addOther(causes: Map<string, ErrorCause>, line: number): void {
  const others = causes.get('') ?? { ...OTHERS, lines: 0, exampleLine: line }
  causes.set('', { ...others, lines: others.lines + 1 })
}

function errorOf(body: unknown): { code: string; message: string } {
  try {
    const { code, message } = JSON.parse(String(body)) as { code?: unknown; message?: unknown }
    return { code: String(code), message: typeof message === 'string' ? message : '' }
  } catch {
    return { code: 'result-unreadable', message: '' }
  }
}

function causeOf({ code, message }: { code: string; message: string }): string {
  return `${code} ${message.replaceAll(/"[^"]*"|\d+(\.\d+)?/g, '#')}`
}
