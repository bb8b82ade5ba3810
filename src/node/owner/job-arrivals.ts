import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { appendFile, open, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { HearthError } from '../../base/errors.ts'
import { Journal } from '../../tasks/journal/journal.ts'
import type { DataFolder } from '../home/data-folder.ts'
import { answerTransfer, type JobPlace, type TransferRequest } from '../jobs/core/job-place.ts'
import { JobFolder } from '../jobs/job-folder.ts'
import { placeOf, syncFolder, writePlace } from '../jobs/place-file.ts'
import type { TransferQuestion } from './job-messages.ts'

/** The shell of core/job-place at the machine that gets a job: what it agrees to is on disk before it answers. */
export class JobArrivals {
  readonly #data: DataFolder
  readonly #run: (jobId: string) => void
  /** One question at a time: each reads and writes the place of its job. */
  #last: Promise<unknown> = Promise.resolve()

  /** `run` starts a job that has arrived and was given up by its sender. */
  constructor(data: DataFolder, run: (jobId: string) => void) {
    this.#data = data
    this.#run = run
  }

  /** Answers with the bytes of the journal that are here. Throws `data-in-use` when the transfer is refused. */
  async answer(from: string, question: TransferQuestion): Promise<number> {
    const answer = this.#last.then(() => this.#carryOut(from, question))
    this.#last = answer.catch(() => {})
    return await answer
  }

  async #carryOut(from: string, question: TransferQuestion): Promise<number> {
    const folder = new JobFolder(this.#data, question.job)
    const before = placeOf(folder)
    if (question.type === 'part') return await append(folder, before, { from, ...question })
    const place = requireAgreed(folder, before, from, question)
    if (question.type === 'offer') return await offered(folder, before, place)
    if (question.type === 'take') {
      if (before?.kind === 'arriving') await install(folder, question)
      writePlace(folder, place)
      return question.bytes
    }
    if (before?.kind === 'taken') writePlace(folder, place)
    if (place.kind === 'here') this.#run(folder.jobId)
    return 0
  }
}

/** A new transfer begins with no bytes; a repeated offer goes on. */
async function offered(folder: JobFolder, before: JobPlace | undefined, place: JobPlace): Promise<number> {
  if (place === before) return sizeOf(arrivingPath(folder))
  writePlace(folder, place)
  await rm(arrivingPath(folder), { force: true })
  return 0
}

function requireAgreed(
  { jobId }: JobFolder,
  place: JobPlace | undefined,
  from: string,
  { type, transfer }: TransferRequest,
): JobPlace {
  const verdict = answerTransfer(place, from, { type, transfer })
  if (verdict.kind === 'agreed') return verdict.place
  throw new HearthError('data-in-use', `Job ${jobId} cannot be moved: ${verdict.words}`, { data: { jobId } })
}

async function append(
  folder: JobFolder,
  place: JobPlace | undefined,
  part: { from: string; transfer: number; at: number; bytes: Uint8Array },
): Promise<number> {
  const isOf = place?.kind === 'arriving' && place.from === part.from && place.transfer === part.transfer
  if (!isOf)
    throw new HearthError('data-in-use', `Job ${folder.jobId} cannot be moved: it is not arriving here`)
  const path = arrivingPath(folder)
  const size = sizeOf(path)
  if (size === part.at) await appendFile(path, part.bytes, { mode: 0o600 })
  return sizeOf(path)
}

/**
 * Puts the copied journal in its place, durable, with an output file of this machine. Throws `data-corrupt`
 * when the copy is not whole, also after a crash in here: then the sender, who still has the job, starts anew.
 */
async function install(
  folder: JobFolder,
  { bytes, sha256, identity }: Extract<TransferQuestion, { type: 'take' }>,
): Promise<void> {
  const arriving = arrivingPath(folder)
  const journal =
    sizeOf(arriving) === bytes && (await hashOf(arriving)) === sha256 ? Journal.read(arriving) : undefined
  if (journal === undefined)
    throw new HearthError('data-corrupt', `the copy of job ${folder.jobId} is not whole: move it again`)
  journal.adopt(join(folder.path, 'results.jsonl'))
  journal.close()
  await sync(arriving)
  if (identity.byteLength > 0) {
    await writeFile(folder.identityPath, identity, { mode: 0o600 })
    await sync(folder.identityPath)
  }
  for (const side of ['-wal', '-shm']) await rm(`${folder.journalPath}${side}`, { force: true })
  await rename(arriving, folder.journalPath)
  syncFolder(folder.path)
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r+')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) hash.update(chunk)
  return hash.digest('hex')
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

function arrivingPath(folder: JobFolder): string {
  return join(folder.path, 'arriving.sqlite')
}
