import { every, sleep, type Cancel } from '../../base/clock.ts'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import { NEVER_RUNS, type Refusal } from '../../tasks/submitter/core/candidate-book.ts'
import type { JobProgress } from '../../tasks/submitter/job-progress.ts'
import type { JournalCounts } from '../../tasks/journal/journal.ts'
import type { DataFolder } from '../home/data-folder.ts'
import { mayRun } from './core/job-place.ts'
import { openHere, placeOf } from './place-file.ts'
import { JobFolder, listJobs, readJournal } from './job-folder.ts'
import { expireJobs } from './job-upkeep.ts'
import { openJob, runJob, type JobRequest, type OpenJob, type SubmitComponents } from './submit-job.ts'
import { Journal } from '../../tasks/journal/journal.ts'

export interface DetachedJobsOptions {
  data: DataFolder
  /** Where this peer's swarm is: its own addresses. */
  swarm: string
  bootstrap(): readonly string[]
}

/** A detached job that this peer runs. */
export interface RunningJob {
  jobId: string
  counts: JournalCounts
  progress: JobProgress | undefined
  /** Why no request of it runs; undefined while some do. */
  waiting: Refusal | undefined
}

interface Entry {
  job: OpenJob
  stop: AbortController
  progress: (() => JobProgress) | undefined
  /** Why it could not start; undefined once it runs. */
  waiting: Refusal | undefined
  ended: Promise<void>
}

/** How often jobs that are over for long are looked for, ms. */
const EXPIRE_EVERY_MS = 3_600_000
/** Wait before a job that could not run is retried, ms. */
const AGAIN_MS = 5_000

/**
 * Detached jobs run in the process of this peer, each as a separate submitter. They wait without a limit
 * when no peer can run them, and resume when this peer restarts.
 */
export class DetachedJobs {
  readonly #components: SubmitComponents
  readonly #options: DetachedJobsOptions
  readonly #running = new Map<string, Entry>()
  #cancelExpiry: Cancel = () => {}

  constructor(components: SubmitComponents, options: DetachedJobsOptions) {
    this.#components = components
    this.#options = options
  }

  /** Resumes every unfinished detached job, and removes those that were over for long, now and every hour. */
  start(): void {
    this.#expire()
    this.#cancelExpiry = every(this.#components.clock, EXPIRE_EVERY_MS, () => this.#expire())
    const { data } = this.#options
    const { log } = this.#components
    for (const jobId of listJobs(data)) {
      try {
        if (isUnfinished(new JobFolder(data, jobId))) this.#resume(jobId)
      } catch (error) {
        log.warn({ jobId, error: messageOf(error) }, 'a detached job could not be resumed')
      }
    }
  }

  /** Stops all jobs. Committed results are on disk; the rest runs when this peer restarts. */
  async stop(): Promise<void> {
    this.#cancelExpiry()
    const entries = [...this.#running.values()]
    for (const { stop } of entries) stop.abort(new HearthError('stream-closed', 'the peer is stopping'))
    await Promise.all(entries.map(({ ended }) => ended))
  }

  /** Takes a job over; resolves with its id once every line is in the journal. Throws what `openJob` throws. */
  async submit(
    request: Omit<JobRequest, 'isDetached'>,
  ): Promise<{ jobId: string; counts: JournalCounts; isResumed: boolean }> {
    const job = await openJob(this.#components, this.#options.data, { ...request, isDetached: true })
    this.#run(job)
    return { jobId: job.folder.jobId, counts: job.journal.counts(), isResumed: job.isResumed }
  }

  /** Runs the error lines of a job again. Throws `data-in-use` while it runs elsewhere. */
  retry(jobId: string): { jobId: string; requests: number } {
    if (this.#running.has(jobId))
      throw new HearthError(
        'data-in-use',
        `Job ${jobId} still runs. Wait for it with "hearth job watch ${jobId.slice(0, 8)}", then retry it`,
      )
    const folder = new JobFolder(this.#options.data, jobId)
    const journal = openHere(folder) ?? readJournal(folder)
    const requests = journal.reopenFailed()
    this.#run({ folder, journal, isResumed: true })
    return { jobId, requests }
  }

  /** Stops a job that runs here and releases its journal, so that it can be cancelled. False when it runs elsewhere. */
  async release(jobId: string): Promise<boolean> {
    const entry = this.#running.get(jobId)
    if (entry === undefined) return false
    entry.stop.abort(new HearthError('stream-closed', 'the job was cancelled'))
    await entry.ended
    return true
  }

  /** Runs a job of this folder, such as one that has arrived, unless it runs already or is over. */
  run(jobId: string): void {
    if (!this.#running.has(jobId) && isUnfinished(new JobFolder(this.#options.data, jobId)))
      this.#resume(jobId)
  }

  list(): RunningJob[] {
    return [...this.#running].map(([jobId, { job, progress, waiting }]) => {
      const now = progress?.()
      return { jobId, counts: job.journal.counts(), progress: now, waiting: waiting ?? now?.waiting }
    })
  }

  #expire(): void {
    const { data } = this.#options
    const { clock, log } = this.#components
    const keepDays = data.keepJobsDays
    const removed = expireJobs(data, { keepDays, wallMs: clock.wallMs(), log })
    if (removed.length > 0) log.info({ removed, keepDays }, 'jobs that were over for long are removed')
  }

  #resume(jobId: string): void {
    const folder = new JobFolder(this.#options.data, jobId)
    const journal = openHere(folder)
    if (journal !== undefined) this.#run({ folder, journal, isResumed: true })
  }

  #run(job: OpenJob): void {
    const { jobId } = job.folder
    const entry: Entry = {
      job,
      stop: new AbortController(),
      progress: undefined,
      waiting: undefined,
      ended: Promise.resolve(),
    }
    this.#running.set(jobId, entry)
    entry.ended = this.#runToEnd(entry).finally(() => {
      job.journal.close()
      this.#running.delete(jobId)
    })
  }

  /** Runs until the job or this peer ends, and retries after each failure. */
  async #runToEnd(entry: Entry): Promise<void> {
    const { signal } = entry.stop
    while (!signal.aborted) {
      const refusal = await this.#runOnce(entry)
      if (refusal === undefined) return
      entry.waiting = refusal
      await sleep(this.#components.clock, AGAIN_MS, signal).catch(() => {})
    }
  }

  /** One attempt: undefined when the job has ended, or why it could not run. */
  async #runOnce(entry: Entry): Promise<Refusal | undefined> {
    const { log } = this.#components
    const { swarm } = this.#options
    const { jobId } = entry.job.folder
    const options = {
      swarm,
      bootstrap: this.#options.bootstrap(),
      giveUpMs: Number.POSITIVE_INFINITY,
      signal: entry.stop.signal,
    }
    try {
      const { counts } = await runJob(this.#components, entry.job, options, (running) => {
        entry.progress = () => running.progress()
        entry.waiting = undefined
      })
      log.info({ jobId, ...counts }, 'detached job finished')
      return undefined
    } catch (error) {
      if (entry.stop.signal.aborted) return undefined
      const code = isHearthError(error) ? error.code : 'internal'
      if (isHearthError(error, 'unschedulable') && NEVER_RUNS.has(String(error.data['code']))) {
        log.error({ jobId, error: messageOf(error) }, 'detached job ended: its context can never run')
        return undefined
      }
      log.warn({ jobId, code, error: messageOf(error) }, 'detached job waits')
      return { code, words: messageOf(error) }
    }
  }
}

function isUnfinished(folder: JobFolder): boolean {
  const journal = Journal.read(folder.journalPath)
  if (journal === undefined) return false
  const { requests, committed } = journal.counts()
  const isUnfinished =
    mayRun(placeOf(folder)) && journal.job.isDetached && journal.state === 'open' && committed < requests
  journal.close()
  return isUnfinished
}
