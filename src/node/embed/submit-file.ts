// A job of another program: a file is submitted, followed, and its results are read.
import { resolve } from 'node:path'
import { every } from '../../base/clock.ts'
import { silentLogger, type Logger } from '../../base/log/logger.ts'
import { systemClock } from '../../base/system-clock.ts'
import { systemRandom } from '../../base/system-random.ts'
import { BATCH_FILE, formatOf, type JobFileOptions } from '../../tasks/job/job-file.ts'
import type { JournalCounts } from '../../tasks/journal/journal.ts'
import type { JobProgress } from '../../tasks/submitter/job-progress.ts'
import { DataFolder } from '../home/data-folder.ts'
import { openJob, runJob, type JobSummary } from '../jobs/submit-job.ts'
import { whileHeld } from './held-process.ts'

/** How long a job waits while nothing can run, ms: as `hearth submit --wait`. */
const GIVE_UP_MS = 60_000
const PROGRESS_EVERY_MS = 1_000

/** How far a job is: counts of the whole job, and what each peer does in this run. */
export type FileProgress = JobProgress & { counts: JournalCounts }

export interface SubmitFileOptions {
  /** Keeps the job's journal, so that the same call again resumes the job. May be that of a running peer. */
  dataFolder: string
  /** OpenAI batch JSONL, or text, JSONL or CSV records: `reading`. */
  inputPath: string
  /** Written when the job ends, one line a request: `readResults` reads it. */
  outputPath: string
  /** A context's name in the swarm, or its CID. */
  context: string
  /** Multiaddrs of any peers of the swarm. */
  bootstrap: readonly string[]
  /** The swarm's id; asked of the bootstrap peer when absent. */
  swarm?: string
  /** How the input is read. Default: by its name, as `hearth submit` does. */
  reading?: Partial<JobFileOptions>
  /** Whether a file at `outputPath` that this job did not write is replaced. Default: false. */
  isForced?: boolean
  /** How long nothing may be able to run before the job is given up, ms. Default: a minute. */
  giveUpMs?: number
  /** Called every `progressEveryMs` (default: 1000) while the job runs, and once when it ends. */
  onProgress?: (progress: FileProgress) => void
  progressEveryMs?: number
  signal?: AbortSignal
  /** Gets the submitter's log; pino satisfies it. Default: nothing is logged. */
  log?: Logger
}

/**
 * Runs a job file on a swarm and writes its output file. The same call again, after whatever ended the
 * first, resumes the job and repeats no committed request. A request that failed is a line of the output
 * and counts in `counts.failed`.
 *
 * Throws `input-invalid` with every bad line, `usage` for an output that may not be written,
 * `context-unknown` and `no-peers` when nothing can run, and the signal's reason when it is aborted.
 */
export async function submitFile(options: SubmitFileOptions): Promise<JobSummary> {
  const { inputPath, outputPath, context, reading, isForced = false, log = silentLogger } = options
  const components = { clock: systemClock, random: systemRandom, log }
  const format = formatOf(inputPath, reading?.template)
  const job = await openJob(components, new DataFolder(resolve(options.dataFolder)), {
    inputPath,
    outputPath,
    context,
    reading: { ...BATCH_FILE, format, ...reading },
    isDetached: false,
    isForced,
  })
  const { bootstrap, swarm, giveUpMs = GIVE_UP_MS, signal } = options
  const progress = new ProgressTeller(options)
  try {
    const running = runJob(components, job, { bootstrap, swarm, giveUpMs, signal }, (read) =>
      progress.begin(read),
    )
    return await whileHeld(running)
  } finally {
    progress.end()
    job.journal.close()
  }
}

type Readable = { progress(): JobProgress; counts(): JournalCounts }

class ProgressTeller {
  readonly #options: SubmitFileOptions
  #tell: () => void = () => {}
  #cancel: () => void = () => {}

  constructor(options: SubmitFileOptions) {
    this.#options = options
  }

  begin(running: Readable): void {
    const { onProgress, progressEveryMs = PROGRESS_EVERY_MS } = this.#options
    if (onProgress === undefined) return
    this.#tell = () => onProgress({ ...running.progress(), counts: running.counts() })
    this.#cancel = every(systemClock, progressEveryMs, this.#tell)
  }

  end(): void {
    this.#cancel()
    this.#tell()
  }
}
