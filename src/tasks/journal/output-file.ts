import { constants } from 'node:fs'
import { access, open, readlink, realpath, rename, rm, stat, truncate } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import { nesting } from '../../base/json-nesting.ts'
import { JSON_DEPTH_MAX } from '../../base/limits.ts'
import { LineWriter } from '../../base/log/line-writer.ts'
import type { JournalLine } from './journal-rows.ts'
import { standardOutput } from './standard-output.ts'

/** The output path that means standard output. */
export const STDOUT = '-'
const STDOUT_PATH = '/dev/stdout'
/** Paths of files that the shell has open for this process. */
const OPEN_FILES = /^\/(dev\/(stdout|stderr|fd\/)|proc\/)/
/** Only its user may read an output, because it holds answers to prompts. */
const OUTPUT_MODE = 0o600

/** The error of a line whose committed result cannot be read. */
const UNREADABLE = {
  code: 'result-unreadable',
  message: 'the committed result is not JSON, or nested too deep; run this line again in another job',
}

/** An output path as given, made absolute; `-` is standard output. */
export function outputPathOf(path: string): string {
  return path === STDOUT ? STDOUT : resolve(path)
}

/**
 * Refuses, before anything runs, an output path whose writing would destroy what the job did not
 * write, or that cannot be written. With `isForced` another's file is emptied. Throws `usage`.
 */
export async function claimOutput(
  path: string,
  { jobId, inputPath, isForced }: { jobId: string; inputPath: string; isForced: boolean },
): Promise<void> {
  const place = await placeOf(path).catch((cause: unknown) => {
    throw new HearthError('usage', `-o ${path}: ${messageOf(cause)}; name another file`, { cause })
  })
  await requireWritable(path, place)
  if (place.kind === 'stream' || !place.exists) return
  const { target } = place
  if (await isSameFile(target, inputPath)) {
    throw new HearthError('usage', `-o ${path} is the input file; name another file for the results`)
  }
  if (await isOwn(target, jobId)) return
  if (isForced) return await truncate(target)
  throw new HearthError(
    'usage',
    `-o ${path} exists, and this job did not write it; name another file, or replace it with --force`,
  )
}

/**
 * Writes the settled lines of a job in OpenAI batch output form. A file is written beside its place,
 * made durable, then renamed, so that a reader sees an old file or a whole new one; a link's target
 * is written, a device or pipe is written through. Throws `output-unwritable`.
 */
export async function writeOutputFile(
  path: string,
  jobId: string,
  lines: Iterable<JournalLine>,
): Promise<void> {
  try {
    const place = await placeOf(path)
    if (place.kind === 'stream') return await writeThrough(place.target, jobId, lines)
    if (place.exists && !(await isOwn(place.target, jobId)))
      throw new HearthError('output-unwritable', 'the file exists, and another program or job wrote it')
    await writeWhole(place.target, jobId, lines)
  } catch (cause) {
    const why = isHearthError(cause) ? cause.message : messageOf(cause)
    throw new HearthError(
      'output-unwritable',
      `cannot write ${path}: ${why}. The results are safe in the job's journal: run the same command again when the file is writable, or type "hearth job results ${jobId.slice(0, 8)} -o OTHER_FILE"`,
      { cause },
    )
  }
}

type Place = { kind: 'stream'; target: string } | { kind: 'file'; target: string; exists: boolean }

/** Where an output goes: the target of a link, which need not exist, and whether it is a regular file. */
async function placeOf(path: string): Promise<Place> {
  if (path === STDOUT) return { kind: 'stream', target: STDOUT_PATH }
  try {
    const found = await stat(path)
    if (found.isDirectory()) throw new HearthError('usage', 'it is a folder')
    // A rename over /dev/stdout's file would replace the file that the shell opened.
    if (!found.isFile() || OPEN_FILES.test(path)) return { kind: 'stream', target: path }
    return { kind: 'file', target: await realpath(path), exists: true }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const linked = await readlink(path).catch(() => undefined)
  if (linked !== undefined) return await placeOf(resolve(dirname(path), linked))
  return { kind: 'file', target: path, exists: false }
}

async function requireWritable(path: string, place: Place): Promise<void> {
  try {
    if (place.kind === 'file') await access(dirname(place.target), constants.W_OK)
    if (place.kind === 'stream' || place.exists) await access(place.target, constants.W_OK)
  } catch (cause) {
    throw new HearthError('usage', `cannot write -o ${path}: ${messageOf(cause)}; name another file`, {
      cause,
    })
  }
}

async function isSameFile(one: string, other: string): Promise<boolean> {
  const [first, second] = await Promise.all([stat(one), stat(other)])
  return first.dev === second.dev && first.ino === second.ino
}

/** Whether a file is empty or begins with an output line of this job, so that overwriting it is safe. */
async function isOwn(path: string, jobId: string): Promise<boolean> {
  const start = `{"id":"${idPrefix(jobId)}`
  const file = await open(path, 'r')
  try {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(start.length), position: 0 })
    return bytesRead === 0 || buffer.toString('utf8', 0, bytesRead) === start
  } finally {
    await file.close()
  }
}

async function writeThrough(target: string, jobId: string, lines: Iterable<JournalLine>): Promise<void> {
  const file = target === STDOUT_PATH ? undefined : await open(target, 'a')
  try {
    const writer = new LineWriter(file ?? standardOutput)
    for (const line of lines) await writer.add(outputLine(jobId, line))
    await writer.flush()
  } finally {
    await file?.close()
  }
}

async function writeWhole(target: string, jobId: string, lines: Iterable<JournalLine>): Promise<void> {
  const partial = `${target}.${jobId.slice(0, 12)}.partial`
  try {
    const file = await open(partial, 'w', OUTPUT_MODE)
    try {
      const writer = new LineWriter(file)
      for (const line of lines) await writer.add(outputLine(jobId, line))
      await writer.flush()
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(partial, target)
    await syncFolder(dirname(target))
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
}

/**
 * One line of OpenAI batch output, without its end: a response when a peer answered, else the error. The body
 * stands in the line as it came. It throws for no row: an unreadable body becomes the line's error.
 */
export function outputLine(jobId: string, line: JournalLine): string {
  const id = `${idPrefix(jobId)}${line.n}`
  const start = `{"id":"${id}","custom_id":${JSON.stringify(line.customId)}`
  const isReadable = isReadableJson(line.body)
  const body = isReadable ? onOneLine(line.body) : JSON.stringify(UNREADABLE)
  if (!line.ok || !isReadable) return `${start},"response":null,"error":${body}}`
  return `${start},"response":{"status_code":${line.statusCode},"request_id":"${id}","body":${body}},"error":null}`
}

/** Line ends in JSON text are white space between its parts: inside a string they are escaped. */
function onOneLine(json: string): string {
  return json.replaceAll(/[\n\r]/g, ' ')
}

/** Journals of earlier versions hold results that were not checked. */
function isReadableJson(text: string): boolean {
  if (nesting(text) > JSON_DEPTH_MAX) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function idPrefix(jobId: string): string {
  return `batch_req_${jobId.slice(0, 12)}_`
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
