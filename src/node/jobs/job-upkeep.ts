// Jobs that are over: removed by their owner, or after a time.
import { readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log/logger.ts'
import { lockJob } from '../../tasks/journal/journal-database.ts'
import type { DataFolder } from '../home/data-folder.ts'
import { JobFolder, listJobs } from './job-folder.ts'
import { placeOf } from './place-file.ts'
import { viewJob } from './job-view.ts'

const DAY_MS = 24 * 3_600_000
/** A folder under this name is half removed: a crash came between. */
const REMOVED = '.removed-'

/**
 * Removes a job's folder; its output file stays. Throws `data-in-use` while the job runs, and `usage` for an
 * unfinished job unless `isForced`.
 */
export function removeJob(folder: JobFolder, { isForced }: { isForced: boolean }): void {
  const unlock = lockToRemove(folder)
  try {
    if (!isForced) requireOver(folder)
    const removed = join(folder.path, '..', `${REMOVED}${folder.jobId}`)
    rmSync(removed, { recursive: true, force: true })
    renameSync(folder.path, removed)
    rmSync(removed, { recursive: true, force: true })
  } finally {
    unlock()
  }
}

/** Removes jobs that were over for so many days, and what a crash left of others; returns their ids. */
export function expireJobs(
  data: DataFolder,
  { keepDays, wallMs, log }: { keepDays: number; wallMs: number; log: Logger },
): string[] {
  sweep(data)
  const expired: string[] = []
  for (const jobId of listJobs(data)) {
    const folder = new JobFolder(data, jobId)
    try {
      if (changedMs(folder) > wallMs - keepDays * DAY_MS || !isOver(folder)) continue
      removeJob(folder, { isForced: false })
      expired.push(jobId)
    } catch (error) {
      if (!isHearthError(error, 'data-in-use'))
        log.warn({ jobId, error: messageOf(error) }, 'a job cannot be removed')
    }
  }
  return expired
}

function lockToRemove(folder: JobFolder): () => void {
  try {
    return lockJob(folder.journalPath)
  } catch (error) {
    if (!isHearthError(error, 'data-in-use')) throw error
    throw new HearthError(
      'data-in-use',
      `Job ${folder.jobId} runs. Stop it with "hearth job cancel ${folder.jobId.slice(0, 8)}", then remove it`,
      { cause: error },
    )
  }
}

function requireOver(folder: JobFolder): void {
  const view = viewJob(folder, new Map())
  if (view === undefined || isOver(folder)) return
  const { committed, requests } = view.counts
  throw new HearthError(
    'usage',
    `Job ${folder.jobId} is unfinished: ${requests - committed} of its ${requests} lines have no answer. Resume it, or remove it with --force`,
  )
}

/** Whether every line has an answer or an error, or another machine has the job for good. */
function isOver(folder: JobFolder): boolean {
  const place = placeOf(folder)
  if (place !== undefined && place.kind !== 'here') return place.kind === 'moved' && place.isConfirmed
  const view = viewJob(folder, new Map())
  return view !== undefined && view.counts.committed === view.counts.requests
}

/** When a result was last written: SQLite leaves the file alone while others read it. */
function changedMs({ journalPath }: JobFolder): number {
  return Math.max(
    ...[journalPath, `${journalPath}-wal`].map(
      (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0,
    ),
  )
}

function sweep(data: DataFolder): void {
  let names: string[] = []
  try {
    names = readdirSync(data.jobsPath)
  } catch {
    // No job was ever here; `listJobs` tells of anything else.
  }
  for (const name of names)
    if (name.startsWith(REMOVED)) rmSync(join(data.jobsPath, name), { recursive: true, force: true })
}
