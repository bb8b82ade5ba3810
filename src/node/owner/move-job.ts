import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { HearthError } from '../../base/errors.ts'
import { JOB_PART_BYTES_MAX } from '../../base/limits.ts'
import { lockJob } from '../../tasks/journal/journal-database.ts'
import { confirmed, giveUp, nextTransfer } from '../jobs/core/job-place.ts'
import type { JobFolder } from '../jobs/job-folder.ts'
import { notHere, placeOf, writePlace } from '../jobs/place-file.ts'
import { unexpected } from './job-asker.ts'
import type { GivenAnswer, TransferQuestion } from './job-messages.ts'

/** The machine that gets a job, and how to ask it. */
export interface JobTarget {
  peer: string
  ask: (question: TransferQuestion) => Promise<GivenAnswer>
}

/**
 * Moves a job to another machine of its owner: the shell of core/job-place at the machine that has it. It holds
 * the job's lock until the job is given up, so nothing is added to the journal after the copy. A crash before
 * that leaves the job here; after that, `confirmMove` makes the other machine run it. Throws `data-in-use`
 * while the job runs here.
 */
export async function moveJob(folder: JobFolder, target: JobTarget): Promise<void> {
  const unlock = lockJob(folder.journalPath)
  const copy = join(folder.path, 'leaving.sqlite')
  try {
    const place = nextTransfer(placeOf(folder))
    if (place === undefined) throw notHere(folder, placeOf(folder))
    writePlace(folder, place)
    await copyJournal(folder.journalPath, copy)
    await send(folder, copy, { target, transfer: place.transfer })
    const given = giveUp(placeOf(folder), target.peer, place.transfer)
    if (given === undefined) throw new HearthError('internal', `job ${folder.jobId} moved twice at once`)
    writePlace(folder, given)
  } finally {
    await rm(copy, { force: true })
    unlock()
  }
  await confirmMove(folder, target)
}

/** Tells the machine to which a job was moved to run it, until it says so once. */
export async function confirmMove(folder: JobFolder, { peer, ask }: JobTarget): Promise<void> {
  const place = placeOf(folder)
  if (place?.kind !== 'moved' || place.isConfirmed || place.to !== peer) return
  const { transfer } = place
  await held(peer, ask({ type: 'release', job: folder.jobId, transfer }))
  writePlace(folder, confirmed(place, transfer))
}

async function send(
  folder: JobFolder,
  copy: string,
  { target: { peer, ask }, transfer }: { target: JobTarget; transfer: number },
): Promise<void> {
  const job = folder.jobId
  const file = await open(copy)
  try {
    const { size } = await file.stat()
    let at = await held(peer, ask({ type: 'offer', job, transfer }))
    while (at < size) {
      const { buffer, bytesRead } = await file.read({
        buffer: Buffer.alloc(JOB_PART_BYTES_MAX),
        position: at,
      })
      const bytes = Uint8Array.from(buffer.subarray(0, bytesRead))
      const next = await held(peer, ask({ type: 'part', job, transfer, at, bytes }))
      if (next !== at + bytesRead) throw unexpected(peer, `${next} bytes`)
      at = next
    }
    const sha256 = await hashOf(copy)
    const identity = Uint8Array.from(await readFile(folder.identityPath).catch(() => Buffer.alloc(0)))
    await held(peer, ask({ type: 'take', job, transfer, bytes: size, sha256, identity }))
  } finally {
    await file.close()
  }
}

/** Through SQLite, which knows what of the journal is still in its log. */
async function copyJournal(from: string, to: string): Promise<void> {
  await rm(to, { force: true })
  const source = new DatabaseSync(from)
  try {
    await backup(source, to)
  } finally {
    source.close()
  }
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) hash.update(chunk)
  return hash.digest('hex')
}

async function held(peer: string, answering: Promise<GivenAnswer>): Promise<number> {
  const answer = await answering
  if (answer.type === 'held') return answer.bytes
  throw unexpected(peer, answer.type)
}
