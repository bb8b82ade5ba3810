import { createHash } from 'node:crypto'
import { createReadStream, readdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { HearthError, messageOf } from '../../base/errors.ts'
import type { Refusal } from '../../tasks/submitter/core/candidate-book.ts'
import { Journal } from '../../tasks/journal/journal.ts'
import type { DataFolder } from '../home/data-folder.ts'

/** How much of a job file is read at a time. */
const READ_BYTES = 1 << 20
/** The last event of a log is looked for in so many bytes at its end. */
const EVENT_BYTES_MAX = 8_192

/** What makes two submissions the same job. */
export interface JobIdentity {
  inputPath: string
  outputPath: string
  context: string
  /** How the input is read, as far as it is not the default. */
  reading: object
}

/** The folder of one job: its journal, its identity, its event log. */
export class JobFolder {
  readonly jobId: string
  readonly path: string

  constructor(data: DataFolder, jobId: string) {
    this.jobId = jobId
    this.path = join(data.jobsPath, jobId)
  }

  get journalPath(): string {
    return join(this.path, 'journal.sqlite')
  }

  get identityPath(): string {
    return join(this.path, 'identity.key')
  }

  get eventsPath(): string {
    return join(this.path, 'events.ndjson')
  }
}

/** The ids of all jobs of a data folder. */
export function listJobs(data: DataFolder): string[] {
  try {
    return readdirSync(data.jobsPath).sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new HearthError('config-invalid', `cannot read ${data.jobsPath}: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

/** The job whose id begins so. Throws `usage` when there is none, or more than one. */
export function findJob(data: DataFolder, idStart: string): JobFolder {
  const found = listJobs(data).filter((jobId) => jobId.startsWith(idStart))
  const [jobId] = found
  if (jobId !== undefined && found.length === 1) return new JobFolder(data, jobId)
  const why =
    found.length === 0 ? 'no job has an id that begins so' : `${found.length} jobs have: give more of it`
  throw new HearthError('usage', `"${idStart}": ${why}; "hearth job ls" lists them`)
}

/** A job's journal, to read. Throws `data-corrupt` when there is none in its folder. */
export function readJournal(folder: JobFolder): Journal {
  const journal = Journal.read(folder.journalPath)
  if (journal !== undefined) return journal
  throw new HearthError(
    'data-corrupt',
    `job ${folder.jobId} has no journal: its submission was cut short; submit it again`,
  )
}

/** Why the job's last run ended before its time, as its event log says; undefined when that says nothing of it. */
export async function whyStopped(folder: JobFolder): Promise<Refusal | undefined> {
  try {
    const text = await lastBytes(folder.eventsPath, EVENT_BYTES_MAX)
    const last = text.trimEnd().split('\n').at(-1) ?? ''
    const { kind, code, message } = JSON.parse(last) as { kind?: string; code?: string; message?: string }
    return kind === 'stopped' ? { code: String(code), words: String(message) } : undefined
  } catch {
    // There is no log, or its last line was torn by a kill.
    return undefined
  }
}

async function lastBytes(path: string, bytesMax: number): Promise<string> {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read({
      buffer: Buffer.alloc(bytesMax),
      position: Math.max(0, size - bytesMax),
    })
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}

/** The same input, context, output and way of reading are the same job: so a second run finds the first's journal. */
export function jobIdOf(inputSha256: string, { context, outputPath, reading }: JobIdentity): string {
  return createHash('sha256')
    .update(JSON.stringify([inputSha256, context, outputPath, reading]))
    .digest('hex')
    .slice(0, 32)
}

/** SHA-256 of a file's bytes, as hex. Throws `input-invalid` when it cannot be read. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>)
      hash.update(chunk)
  } catch (cause) {
    throw new HearthError('input-invalid', `cannot read ${path}: ${messageOf(cause)}`, { cause })
  }
  return hash.digest('hex')
}
