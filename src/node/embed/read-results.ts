import { z } from 'zod'
import { HearthError } from '../../base/errors.ts'
import { readLines } from '../../tasks/job/read-lines.ts'

/** One line of an output file: the answer of a request, or why it has none. */
export interface JobResult {
  /** The request's `custom_id`, or what its line was named by. */
  customId: string
  /** The body of an OpenAI response; undefined when the request failed. */
  body: Record<string, unknown> | undefined
  /** Why the request failed; undefined when it was answered. */
  error: { code: string; message: string } | undefined
}

const line = z.object({
  custom_id: z.string(),
  response: z.object({ body: z.record(z.string(), z.unknown()) }).nullable(),
  error: z.object({ code: z.coerce.string(), message: z.string() }).nullable(),
})

/**
 * The results of an output file, in the order of its requests, in bounded memory. Throws `input-invalid`
 * when the file cannot be read, or names the line that is no result.
 */
export async function* readResults(path: string): AsyncGenerator<JobResult> {
  for await (const read of readLines(path)) {
    if ('message' in read) throw notAResult(path, read.line, read.message)
    yield resultOf(path, read)
  }
}

function resultOf(path: string, { line: number, text }: { line: number; text: string }): JobResult {
  try {
    const { custom_id: customId, response, error } = line.parse(JSON.parse(text))
    return { customId, body: response?.body, error: error ?? undefined }
  } catch (cause) {
    throw notAResult(path, number, 'it is no line of OpenAI batch output', cause)
  }
}

function notAResult(path: string, number: number, why: string, cause?: unknown): HearthError {
  const message = `line ${number} of ${path} is not a result: ${why}; name the output file of a job`
  return new HearthError('input-invalid', message, { data: { path, line: number }, cause })
}
