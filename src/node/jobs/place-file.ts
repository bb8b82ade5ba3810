// The place of a job on disk, and the one way to open a job's journal for a change.
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { HearthError } from '../../base/errors.ts'
import { Journal } from '../../tasks/journal/journal.ts'
import { mayRun, type JobPlace } from './core/job-place.ts'
import type { JobFolder } from './job-folder.ts'

const transfer = z.int().min(0)
const peer = z.string().min(1).max(128)
const placeSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('here'), transfer, arrivedBy: transfer.optional() }),
  z.strictObject({ kind: z.literal('arriving'), from: peer, transfer }),
  z.strictObject({ kind: z.literal('taken'), from: peer, transfer }),
  z.strictObject({ kind: z.literal('moved'), to: peer, transfer, isConfirmed: z.boolean() }),
])

/** Where a job is; undefined when nothing of it is here. A job that was never moved has no file for it. */
export function placeOf(folder: JobFolder): JobPlace | undefined {
  const path = pathOf(folder)
  if (!existsSync(path)) return existsSync(folder.journalPath) ? { kind: 'here', transfer: 0 } : undefined
  try {
    return placeSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (cause) {
    throw new HearthError(
      'data-corrupt',
      `${path} is damaged, so it is unknown whether job ${folder.jobId} was moved to another machine. Remove the job here with "hearth job rm --force" if "hearth job ls" lists it elsewhere`,
      { data: { path }, cause },
    )
  }
}

/** Durable when it returns: the file and its name are on disk. */
export function writePlace(folder: JobFolder, place: JobPlace): void {
  mkdirSync(folder.path, { recursive: true, mode: 0o700 })
  const partial = `${pathOf(folder)}.partial`
  const file = openSync(partial, 'w', 0o600)
  writeSync(file, `${JSON.stringify(place)}\n`)
  fsyncSync(file)
  closeSync(file)
  renameSync(partial, pathOf(folder))
  syncFolder(folder.path)
}

/** Makes the names of a folder durable. */
export function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  fsyncSync(folder)
  closeSync(folder)
}

/**
 * The journal of a job that may run here; undefined when there is none. Throws `data-in-use` while another
 * process runs it, and when it is at another machine. The place is read under the lock, which a move holds.
 */
export function openHere(folder: JobFolder): Journal | undefined {
  const journal = Journal.open(folder.journalPath)
  try {
    const place = placeOf(folder)
    if (!mayRun(place)) throw notHere(folder, place)
    return journal
  } catch (error) {
    journal?.close()
    throw error
  }
}

/** The error for a job that is at another machine. */
export function notHere({ jobId }: JobFolder, place: JobPlace | undefined): HearthError {
  const words =
    place?.kind === 'moved'
      ? `was moved to peer ${place.to}. Follow it with "hearth job watch ${jobId.slice(0, 8)}"`
      : place === undefined || place.kind === 'here'
        ? 'is not here. Run "hearth job ls" to list the jobs'
        : `has been copied from peer ${place.from}, which has not given it up. Run "hearth job move" there again`
  return new HearthError('data-in-use', `Job ${jobId} ${words}`, { data: { jobId } })
}

function pathOf(folder: JobFolder): string {
  return join(folder.path, 'place.json')
}
