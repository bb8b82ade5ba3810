import { createHash } from 'node:crypto'
import { createReadStream, readdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { HearthError, messageOf } from '../../base/errors.ts'
import { asStorageError } from '../../base/storage-errors.ts'
import type { Refusal } from '../../tasks/submitter/core/candidate-book.ts'
import { Journal } from '../../tasks/journal/journal.ts'
import { KnownNames } from '../home/known-names.ts'
import type { DataFolder } from '../home/data-folder.ts'

/** Read size of a job file, bytes. */
const READ_BYTES = 1 << 20
/** Bytes at the end of a log in which its last event is searched. */
const EVENT_BYTES_MAX = 8_192

/** Two submissions with an equal identity are the same job. */
export interface JobIdentity {
  inputPath: string
  outputPath: string
  context: string
  /** Options for reading the input that differ from the defaults. */
  reading: object
}

/** The folder of one job: its journal, its identity, its event log. */
export class JobFolder {
  readonly jobId: string
  readonly path: string
  /** The key of the peer that runs from the same data folder; there may be none. */
  readonly ownPeerPath: string
  /** What names stood for in earlier jobs of the data folder. */
  readonly names: KnownNames

  constructor(data: DataFolder, jobId: string) {
    this.ownPeerPath = data.identityPath
    this.names = new KnownNames(data.path)
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
    return readdirSync(data.jobsPath)
      .filter((name) => !name.startsWith('.'))
      .sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw asStorageError(error, data.jobsPath)
  }
}

/** The job whose id starts with `idStart`. Throws `usage` when none or several do. */
export function findJob(data: DataFolder, idStart: string): JobFolder {
  const found = listJobs(data).filter((jobId) => jobId.startsWith(idStart))
  const [jobId] = found
  if (jobId !== undefined && found.length === 1) return new JobFolder(data, jobId)
  throw new HearthError(
    'usage',
    found.length === 0
      ? `No job id starts with "${idStart}". Run "hearth job ls" to list the jobs`
      : `${found.length} job ids start with "${idStart}". Give more of the id; "hearth job ls" lists the jobs`,
  )
}

/** A job's journal, to read. Throws `data-corrupt` when there is none in its folder. */
export function readJournal(folder: JobFolder): Journal {
  const journal = Journal.read(folder.journalPath)
  if (journal !== undefined) return journal
  throw new HearthError(
    'data-corrupt',
    `Job ${folder.jobId} has no journal, because its submission was cut short. Submit it again`,
  )
}

/** Why the last run of the job stopped early, from its event log; undefined when the log does not say. */
export async function whyStopped(folder: JobFolder): Promise<Refusal | undefined> {
  try {
    const text = await lastBytes(folder.eventsPath, EVENT_BYTES_MAX)
    const last = text.trimEnd().split('\n').at(-1) ?? ''
    const { kind, code, message } = JSON.parse(last) as { kind?: string; code?: string; message?: string }
    return kind === 'stopped' ? { code: String(code), words: String(message) } : undefined
  } catch {
    // The log is missing, or a kill cut its last line short.
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

/** Equal input, context, output and reading options give the same id, so a second run finds the first journal. */
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
    throw new HearthError('input-invalid', `Cannot read the job file ${path}: ${messageOf(cause)}`, { cause })
  }
  return hash.digest('hex')
}
