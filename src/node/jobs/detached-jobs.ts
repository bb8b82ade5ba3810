import { sleep } from '../../base/clock.ts'
import { HearthError, isHearthError, messageOf } from '../../base/errors.ts'
import type { Refusal } from '../../tasks/submitter/core/candidate-book.ts'
import type { JobProgress } from '../../tasks/submitter/job-progress.ts'
import type { JournalCounts } from '../../tasks/journal/journal.ts'
import type { DataFolder } from '../home/data-folder.ts'
import { JobFolder, listJobs, readJournal } from './job-folder.ts'
import { openJob, runJob, type JobRequest, type OpenJob, type SubmitComponents } from './submit-job.ts'
import { Journal } from '../../tasks/journal/journal.ts'

export interface DetachedJobsOptions {
  data: DataFolder
  /** Where this peer's swarm is: its own addresses. */
  swarm: string
  bootstrap(): readonly string[]
}

/** A job that this peer carries. */
export interface RunningJob {
  jobId: string
  counts: JournalCounts
  progress: JobProgress | undefined
  /** Why nothing of it runs; undefined while something does. */
  waiting: Refusal | undefined
}

interface Entry {
  job: OpenJob
  stop: AbortController
  progress: (() => JobProgress) | undefined
  /** Why it does not run now, when it could not even begin. */
  waiting: Refusal | undefined
  ended: Promise<void>
}

/** A job that could not run is tried again after this, ms. */
const AGAIN_MS = 5_000

/**
 * Jobs that were given to this peer to carry on: they run in its process, each as a submitter of its
 * own, wait for ever when nothing can run them, and go on when the peer starts again.
 */
export class DetachedJobs {
  readonly #components: SubmitComponents
  readonly #options: DetachedJobsOptions
  readonly #running = new Map<string, Entry>()

  constructor(components: SubmitComponents, options: DetachedJobsOptions) {
    this.#components = components
    this.#options = options
  }

  /** Goes on with every detached job that is not settled. */
  start(): void {
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

  /** Ends them for now: what is committed is safe, the rest runs when this peer is up again. */
  async stop(): Promise<void> {
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
      throw new HearthError('data-in-use', `job ${jobId} still runs; retry it when it has ended`)
    const folder = new JobFolder(this.#options.data, jobId)
    const journal = Journal.open(folder.journalPath) ?? readJournal(folder)
    const requests = journal.reopenFailed()
    this.#run({ folder, journal, isResumed: true })
    return { jobId, requests }
  }

  /** Stops a job that runs here, so that its journal is free to be cancelled. False when it does not run here. */
  async release(jobId: string): Promise<boolean> {
    const entry = this.#running.get(jobId)
    if (entry === undefined) return false
    entry.stop.abort(new HearthError('stream-closed', 'the job was cancelled'))
    await entry.ended
    return true
  }

  list(): RunningJob[] {
    return [...this.#running].map(([jobId, { job, progress, waiting }]) => {
      const now = progress?.()
      return { jobId, counts: job.journal.counts(), progress: now, waiting: waiting ?? now?.waiting }
    })
  }

  #resume(jobId: string): void {
    const folder = new JobFolder(this.#options.data, jobId)
    const journal = Journal.open(folder.journalPath)
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

  /** Runs until the end of the job or of this peer; what stands in its way is waited out. */
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
      log.warn({ jobId, code, error: messageOf(error) }, 'detached job waits')
      return { code, words: messageOf(error) }
    }
  }
}

function isUnfinished(folder: JobFolder): boolean {
  const journal = Journal.read(folder.journalPath)
  if (journal === undefined) return false
  const { requests, committed } = journal.counts()
  const isUnfinished = journal.job.isDetached && journal.state === 'open' && committed < requests
  journal.close()
  return isUnfinished
}
