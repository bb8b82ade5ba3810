import { isUtf8 } from 'node:buffer'
import { pipe } from 'it-pipe'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline, type Duplex } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { HearthError } from '../../base/errors.ts'
import { REQUEST_LINE_BYTES_MAX } from '../../base/limits.ts'

const NEWLINE = 0x0a
const BYTE_ORDER_MARK = '\ufeff'
/** The first bytes of files: RFC 1952 and RFC 8878. */
const GZIP_MAGIC = '1f8b'
const ZSTD_MAGIC = '28b52ffd'

/** A line of a file without its line feed, or the reason why it cannot be read. */
export type FileLine = { line: number; text: string } | { line: number; message: string }

/**
 * The lines of a file as text, in bounded memory, without a byte order mark. A line that is too long
 * or not UTF-8 is given as a message. Throws `input-invalid` when the file cannot be read.
 */
export function readLines(path: string): AsyncGenerator<FileLine> {
  return pipe(readChunks(path), linesOf)
}

async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<FileLine> {
  let line = 0
  let parts: Buffer[] = []
  let bytes = 0
  const finish = (): FileLine => {
    line += 1
    const whole =
      bytes > REQUEST_LINE_BYTES_MAX
        ? { line, message: `the line is longer than ${REQUEST_LINE_BYTES_MAX} bytes` }
        : lineOf(line, Buffer.concat(parts))
    parts = []
    bytes = 0
    return whole
  }
  const add = (part: Buffer): void => {
    bytes += part.byteLength
    if (bytes <= REQUEST_LINE_BYTES_MAX) parts.push(part)
    else parts = []
  }
  for await (const chunk of chunks) {
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

function lineOf(line: number, bytes: Buffer): FileLine {
  if (!isUtf8(bytes)) return { line, message: 'not UTF-8 text: save the file as UTF-8' }
  const text = bytes.toString('utf8')
  return { line, text: line === 1 && text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text }
}

/** The bytes of a file, unpacked when it is gzip or Zstandard. */
async function* readChunks(path: string): AsyncGenerator<Buffer> {
  try {
    const unpack = await unpackerOf(path)
    const file = createReadStream(path)
    // pipeline hands an error of the file to the unpacker, from which the loop throws it.
    if (unpack !== undefined) pipeline(file, unpack, () => {})
    yield* (unpack ?? file) as AsyncIterable<Buffer>
  } catch (cause) {
    if (!isReadError(cause)) throw cause
    throw new HearthError('input-invalid', `cannot read ${path}: ${cause.message}`, { cause })
  }
}

async function unpackerOf(path: string): Promise<Duplex | undefined> {
  const file = await open(path)
  try {
    const { buffer } = await file.read({ buffer: Buffer.alloc(4), position: 0 })
    const magic = buffer.toString('hex')
    if (magic.startsWith(GZIP_MAGIC)) return createGunzip()
    return magic === ZSTD_MAGIC ? createZstdDecompress() : undefined
  } finally {
    await file.close()
  }
}

/** An error of the file system or of an unpacker: both carry a code, and the second an errno. */
function isReadError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && ('syscall' in error || 'errno' in error)
}
