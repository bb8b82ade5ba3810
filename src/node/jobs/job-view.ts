import { HearthError } from '../../base/errors.ts'
import { isJobRunning, type JobRecord, type JobState } from '../../tasks/journal/journal-database.ts'
import type { ErrorCause } from '../../tasks/journal/error-causes.ts'
import { Journal, type JournalCounts } from '../../tasks/journal/journal.ts'
import { writeOutputFile } from '../../tasks/journal/output-file.ts'
import type { Refusal } from '../../tasks/submitter/core/candidate-book.ts'
import type { JobProgress } from '../../tasks/submitter/job-progress.ts'
import type { DataFolder } from '../home/data-folder.ts'
import { mayRun } from './core/job-place.ts'
import { JobFolder, listJobs, readJournal, whyStopped } from './job-folder.ts'
import { openHere, placeOf } from './place-file.ts'

/** moved: another machine has it. arriving: it is copied from another machine, which still has it. */
type PlaceState = 'moved' | 'arriving'

/** A job as `job ls` and `job watch` print it. */
export interface JobView {
  job: JobRecord
  /** running: by the peer of its machine, or by a submit command. stopped: unfinished, and no process runs it. */
  state: 'running' | 'stopped' | 'done' | 'cancelled' | PlaceState
  counts: JournalCounts
  progress: JobProgress | undefined
  /** Why no request of it runs; undefined while some do, and when the peer does not run it. */
  waiting: Refusal | undefined
}

/** A job as `job show` prints it. */
export interface JobDetail extends JobView {
  /** Why the last run stopped early. */
  stopped: Refusal | undefined
  /** The most frequent errors of its lines. */
  errors: ErrorCause[]
  resultsByPeer: { peer: string; results: number }[]
  eventsPath: string
}

/** The state of a job that a peer runs now. */
export type RunningView = Pick<JobView, 'progress' | 'waiting'>

const COMMON_ERRORS = 10

/** All jobs of a data folder, oldest first; a damaged one is told to `onDamaged` and hides no other. */
export function viewJobs(
  data: DataFolder,
  running: ReadonlyMap<string, RunningView>,
  onDamaged: (jobId: string, error: unknown) => void,
): JobView[] {
  const views = listJobs(data).flatMap((jobId) => {
    try {
      return viewJob(new JobFolder(data, jobId), running) ?? []
    } catch (error) {
      onDamaged(jobId, error)
      return []
    }
  })
  return views.sort((a, b) => a.job.createdAtMs - b.job.createdAtMs)
}

/** One job; undefined when its submission was cut short. */
export function viewJob(folder: JobFolder, running: ReadonlyMap<string, RunningView>): JobView | undefined {
  const journal = Journal.read(folder.journalPath)
  if (journal === undefined) return undefined
  try {
    return viewOf(journal, folder, running)
  } finally {
    journal.close()
  }
}

/** Throws `data-corrupt` when the job's submission was cut short. */
export async function detailJob(
  folder: JobFolder,
  running: ReadonlyMap<string, RunningView>,
): Promise<JobDetail> {
  const journal = readJournal(folder)
  try {
    const view = viewOf(journal, folder, running)
    return {
      ...view,
      stopped: view.state === 'stopped' ? await whyStopped(folder) : undefined,
      errors: journal.commonErrors(COMMON_ERRORS),
      resultsByPeer: journal.resultsByPeer(),
      eventsPath: folder.eventsPath,
    }
  } finally {
    journal.close()
  }
}

/** A job after `cancelJob`: lines that had answers before it. */
export interface CancelledJob {
  jobId: string
  requests: number
  committed: number
  outputPath: string
}

/**
 * Ends a job for good: its unanswered lines become error lines. Whoever runs it must have released it.
 * Throws `data-in-use` while another process runs it.
 */
export async function cancelJob(folder: JobFolder, wallMs: number): Promise<CancelledJob> {
  const journal = openJournal(folder)
  try {
    const { requests, committed } = journal.counts()
    if (committed < requests) journal.cancel(wallMs)
    const { outputPath } = journal.job
    await writeOutputFile(outputPath, folder.jobId, journal.lines())
    return { jobId: folder.jobId, requests, committed, outputPath }
  } finally {
    journal.close()
  }
}

/** A job's journal, to change. Throws `data-corrupt` when its submission was cut short. */
export function openJournal(folder: JobFolder): Journal {
  const journal = openHere(folder)
  if (journal !== undefined) return journal
  throw new HearthError(
    'data-corrupt',
    `Job ${folder.jobId} has no journal, because its submission was cut short. Submit it again`,
  )
}

function viewOf(journal: Journal, folder: JobFolder, running: ReadonlyMap<string, RunningView>): JobView {
  const here = running.get(folder.jobId)
  const counts = journal.counts()
  const isRunning = here !== undefined || isJobRunning(folder.journalPath)
  return {
    job: journal.job,
    state: awayState(folder) ?? stateOf(journal.state, counts, isRunning),
    counts,
    progress: here?.progress,
    waiting: here?.waiting,
  }
}

function awayState(folder: JobFolder): PlaceState | undefined {
  const place = placeOf(folder)
  if (mayRun(place)) return undefined
  return place?.kind === 'moved' ? 'moved' : 'arriving'
}

function stateOf(
  state: JobState,
  { committed, requests }: JournalCounts,
  isRunning: boolean,
): JobView['state'] {
  if (state === 'cancelled') return 'cancelled'
  if (committed === requests) return 'done'
  return isRunning ? 'running' : 'stopped'
}
