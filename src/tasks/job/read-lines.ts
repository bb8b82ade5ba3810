import { createReadStream } from 'node:fs'
import { HearthError } from '../../base/errors.ts'
import { REQUEST_LINE_BYTES_MAX } from '../../base/limits.ts'

const NEWLINE = 0x0a

/**
 * The lines of a file as text, trimmed, in bounded memory: of a line over REQUEST_LINE_BYTES_MAX only
 * the fact is given. Throws `input-invalid` when the file cannot be read.
 */
export async function* readLines(
  path: string,
): AsyncGenerator<{ line: number; text: string } | { line: number; tooLong: true }> {
  let line = 0
  let parts: Buffer[] = []
  let bytes = 0
  const finish = (): { line: number; text: string } | { line: number; tooLong: true } => {
    line += 1
    const whole =
      bytes > REQUEST_LINE_BYTES_MAX
        ? { line, tooLong: true as const }
        : { line, text: Buffer.concat(parts).toString('utf8').trim() }
    parts = []
    bytes = 0
    return whole
  }
  const add = (part: Buffer): void => {
    bytes += part.byteLength
    if (bytes <= REQUEST_LINE_BYTES_MAX) parts.push(part)
    else parts = []
  }
  for await (const chunk of readChunks(path)) {
    let from = 0
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      add(chunk.subarray(from, end))
      yield finish()
      from = end + 1
    }
    add(chunk.subarray(from))
  }
  if (bytes > 0) yield finish()
}

/** The bytes of a file. Throws `input-invalid` when it cannot be read. */
export async function* readChunks(path: string): AsyncGenerator<Buffer> {
  try {
    yield* createReadStream(path) as AsyncIterable<Buffer>
  } catch (cause) {
    if (!isFileError(cause)) throw cause
    throw new HearthError('input-invalid', `cannot read ${path}: ${cause.message}`, { cause })
  }
}

function isFileError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && 'syscall' in error
}
