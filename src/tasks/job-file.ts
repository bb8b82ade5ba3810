import { createReadStream } from 'node:fs'
import { z } from 'zod'
import { HearthError } from '../base/errors.ts'
import { JSON_DEPTH_MAX, REQUEST_LINE_BYTES_MAX } from '../base/limits.ts'

/** A request of a job file: one line of OpenAI batch input. */
export interface JobLine {
  /** Where it stands in the file, from 1. */
  line: number
  customId: string
  url: string
  /** The request body as JSON text. */
  body: string
}

/** Why a line is not a request. */
export interface LineError {
  line: number
  message: string
}

/** The endpoints that a request may name. */
export const JOB_URLS: readonly string[] = ['/v1/chat/completions', '/v1/completions']

const NEWLINE = 0x0a

const jobLine = z.object({
  custom_id: z
    .string()
    .min(1, 'custom_id must not be empty')
    .max(512, 'custom_id is longer than 512 characters'),
  method: z.literal('POST', 'method must be "POST"').optional(),
  url: z.string().refine((url) => JOB_URLS.includes(url), `url must be one of ${JOB_URLS.join(', ')}`),
  body: z.record(z.string(), z.unknown(), 'body must be an object'),
})

/**
 * The lines of an OpenAI batch file, read as a stream: each is a request or the reason why it is
 * not. Blank lines are passed over. Throws `input-invalid` when the file cannot be read.
 */
export async function* readJobFile(path: string): AsyncGenerator<JobLine | LineError> {
  let line = 0
  for await (const bytes of splitLines(path)) {
    line += 1
    if (bytes === 'too-long') {
      yield { line, message: `the line is longer than ${REQUEST_LINE_BYTES_MAX} bytes` }
      continue
    }
    const text = bytes.toString('utf8').trim()
    if (text !== '') yield parseLine(line, text)
  }
}

/** Whether an entry of a job file is a line that cannot be run. */
export function isLineError(entry: JobLine | LineError): entry is LineError {
  return 'message' in entry
}

function parseLine(line: number, text: string): JobLine | LineError {
  if (nesting(text) > JSON_DEPTH_MAX) return { line, message: `nested deeper than ${JSON_DEPTH_MAX} levels` }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return { line, message: `not JSON: ${(error as Error).message}` }
  }
  const checked = jobLine.safeParse(value)
  if (!checked.success) return { line, message: issuesOf(checked.error) }
  const { custom_id: customId, url, body } = checked.data
  if (body['stream'] === true) return { line, message: 'stream: true has no meaning in a batch' }
  return { line, customId, url, body: JSON.stringify(body) }
}

function issuesOf(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.join('.') || 'line'}: ${issue.message}`).join('; ')
}

/** How deep brackets nest outside of strings; found before parsing, so that depth cannot exhaust the stack. */
export function nesting(text: string): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let index = 0; index < text.length; index += 1) {
    const char = text.charCodeAt(index)
    if (inString) {
      if (char === 0x5c) index += 1
      else if (char === 0x22) inString = false
    } else if (char === 0x22) inString = true
    else if (char === 0x7b || char === 0x5b) deepest = Math.max(deepest, (depth += 1))
    else if (char === 0x7d || char === 0x5d) depth -= 1
  }
  return deepest
}

/** The file's lines as bytes, in bounded memory: of a line over the limit only the fact is kept. */
async function* splitLines(path: string): AsyncGenerator<Buffer | 'too-long'> {
  let parts: Buffer[] = []
  let bytes = 0
  const finish = (): Buffer | 'too-long' => {
    const line = bytes > REQUEST_LINE_BYTES_MAX ? ('too-long' as const) : Buffer.concat(parts)
    parts = []
    bytes = 0
    return line
  }
  const add = (part: Buffer): void => {
    bytes += part.byteLength
    if (bytes <= REQUEST_LINE_BYTES_MAX) parts.push(part)
    else parts = []
  }
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      let from = 0
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
        add(chunk.subarray(from, end))
        yield finish()
        from = end + 1
      }
      add(chunk.subarray(from))
    }
  } catch (cause) {
    if (!isFileError(cause)) throw cause
    throw new HearthError('input-invalid', `cannot read ${path}: ${cause.message}`, { cause })
  }
  if (bytes > 0) yield finish()
}

function isFileError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && 'syscall' in error
}
